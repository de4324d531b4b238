"""exec by Python's kubernetes client, over WebSocket: `exec.py KUBECONFIG POD COMMAND…`. Prints the output, then the exit code."""

import sys

from kubernetes import client, config
from kubernetes.stream import stream

config.load_kube_config(config_file=sys.argv[1])
session = stream(
    client.CoreV1Api().connect_get_namespaced_pod_exec,
    sys.argv[2],
    "default",
    command=sys.argv[3:],
    stdout=True,
    stderr=True,
    stdin=False,
    tty=False,
    _preload_content=False,
)
session.run_forever(timeout=10)
print(session.read_stdout().strip(), session.returncode)
