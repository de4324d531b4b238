import type { Kind } from '../kind.ts';
import { cronJobKind } from './cronjob.ts';
import { jobKind } from './job.ts';

export const batchKinds: readonly Kind[] = [cronJobKind, jobKind];
