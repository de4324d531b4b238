"""port-forward by Python's kubernetes client, over WebSocket channels: `forward.py KUBECONFIG POD PORT`. Prints what came back."""

import sys

from kubernetes import client, config
from kubernetes.stream import portforward

config.load_kube_config(config_file=sys.argv[1])
port = int(sys.argv[3])
forwarded = portforward(
    client.CoreV1Api().connect_get_namespaced_pod_portforward,
    sys.argv[2],
    "default",
    ports=str(port),
)
connection = forwarded.socket(port)
connection.setblocking(True)
connection.sendall(b"GET / HTTP/1.0\r\nHost: pod\r\n\r\n")
answer = b""
while True:
    piece = connection.recv(65536)
    if not piece:
        break
    answer += piece
print(answer.split(b"\r\n\r\n", 1)[1].decode(), forwarded.error(port))
