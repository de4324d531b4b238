/** Where one node's containerd keeps its things. Absolute paths. */
export type ContainerdPaths = {
  readonly root: string; // images and snapshots: survive a restart of the machine
  readonly state: string; // running tasks: on tmpfs
  readonly socket: string;
  readonly configFile: string;
  readonly pidFile: string;
  readonly logFile: string;
  readonly cniConfigDir: string;
};

export type ContainerdOptions = {
  readonly sandboxImage: string;
  readonly cniBinDir: string;
  /**
   * Folder of `HOST/hosts.toml` files (containerd's registry host configuration): mirrors and private authorities. Read at each
   * pull; may be absent.
   */
  readonly registriesDir: string;
  /**
   * Whether we may protect a process from the kernel's out-of-memory killer (CAP_SYS_RESOURCE). Where not, as in many
   * virtual machines and containers, runc would fail to start any sandbox; they run with containerd's own score then.
   */
  readonly mayLowerOomScore: boolean;
};

/**
 * Parts of containerd that we never call. Each costs start-up time or writes outside of our folders
 * (`opt` makes /opt/containerd). The v1 Linux runtime stays: 1.6 does not load its task service without it.
 */
const disabledPlugins = [
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.native',
  'io.containerd.snapshotter.v1.zfs',
  'io.containerd.internal.v1.opt',
  'io.containerd.internal.v1.restart',
  'io.containerd.internal.v1.tracing',
  'io.containerd.tracing.processor.v1.otlp',
  'io.containerd.monitor.v1.cgroups',
  'io.containerd.nri.v1.nri',
] as const;

/** containerd's config.toml, version 2: understood by 1.x and by 2.x. */
export function renderContainerdConfig(paths: ContainerdPaths, options: ContainerdOptions): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = ${quote(paths.root)}
state = ${quote(paths.state)}
disabled_plugins = [${disabledPlugins.map(quote).join(', ')}]

[grpc]
  address = ${quote(paths.socket)}

[${cri}]
  sandbox_image = ${quote(options.sandboxImage)}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  restrict_oom_score_adj = ${!options.mayLowerOomScore}
  max_container_log_line_size = 16384

  [${cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    discard_unpacked_layers = false

    [${cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [${cri}.containerd.runtimes.runc.options]
        SystemdCgroup = false

  [${cri}.cni]
    bin_dir = ${quote(options.cniBinDir)}
    conf_dir = ${quote(paths.cniConfigDir)}

  [${cri}.registry]
    config_path = ${quote(options.registriesDir)}
`;
}

const capSysResource = 24n;

/** Whether /proc/self/status grants the capability that lowers out-of-memory scores. */
export function mayLowerOomScore(procStatus: string): boolean {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(procStatus)?.[1];
  return mask !== undefined && ((BigInt(`0x${mask}`) >> capSysResource) & 1n) === 1n;
}

/** A TOML basic string. JSON's escapes are a subset of TOML's. */
function quote(text: string): string {
  return JSON.stringify(text);
}
