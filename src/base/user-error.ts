/** Something that the person at the keyboard can put right; printed without a stack. The message says what to do. */
export class UserError extends Error {
  override readonly name = 'UserError';
}
