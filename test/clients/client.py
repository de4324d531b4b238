"""What Python's kubernetes client does against the API server: `client.py KUBECONFIG`. Prints one line a step."""

import sys

from kubernetes import client, config, watch

config.load_kube_config(config_file=sys.argv[1])
core = client.CoreV1Api()
apps = client.AppsV1Api()

print("version", client.VersionApi().get_code().major)
print("namespaces", "default" in [item.metadata.name for item in core.list_namespace().items])

core.create_namespaced_config_map("default", {"metadata": {"name": "python"}, "data": {"a": "1"}})
core.patch_namespaced_config_map("python", "default", {"data": {"b": "2"}})
got = core.read_namespaced_config_map("python", "default")
print("data", sorted(got.data.items()))
got.data["c"] = "3"
core.replace_namespaced_config_map("python", "default", got)
got.data["c"] = "4"
try:
    core.replace_namespaced_config_map("python", "default", got)
except client.exceptions.ApiException as error:
    print("conflict", error.status, error.reason)

deployment = client.V1Deployment(
    metadata=client.V1ObjectMeta(name="python"),
    spec=client.V1DeploymentSpec(
        replicas=2,
        selector=client.V1LabelSelector(match_labels={"app": "python"}),
        template=client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels={"app": "python"}),
            spec=client.V1PodSpec(containers=[client.V1Container(name="main", image="x")]),
        ),
    ),
)
made = apps.create_namespaced_deployment("default", deployment)
print("manager", made.metadata.managed_fields[0].manager)
apps.patch_namespaced_deployment_scale("python", "default", {"spec": {"replicas": 5}})
print("replicas", apps.read_namespaced_deployment_scale("python", "default").spec.replicas)

events = watch.Watch()
start = core.list_namespaced_config_map("default").metadata.resource_version
core.delete_namespaced_config_map("python", "default")
for event in events.stream(core.list_namespaced_config_map, "default", resource_version=start, timeout_seconds=5):
    print("event", event["type"], event["object"].metadata.name)
    break
apps.delete_namespaced_deployment("python", "default", propagation_policy="Background")
print("selected", len(core.list_pod_for_all_namespaces(label_selector="app in (a, b)", limit=1).items))
