// A release of the chart beside this file through helm's own library, as the helm command drives it: `helm KUBECONFIG CHART`.
package main

import (
	"fmt"
	"os"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/cli"
)

const namespace = "charts"

func must(err error) {
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func main() {
	settings := cli.New()
	settings.KubeConfig = os.Args[1]
	settings.SetNamespace(namespace)
	config := new(action.Configuration)
	must(config.Init(settings.RESTClientGetter(), namespace, "secret", func(string, ...any) {}))
	chart, err := loader.Load(os.Args[2])
	must(err)

	install := action.NewInstall(config)
	install.ReleaseName = "demo"
	install.Namespace = namespace
	install.CreateNamespace = true
	install.Wait = true
	install.Timeout = time.Minute
	made, err := install.Run(chart, map[string]any{"replicas": 2})
	must(err)
	fmt.Println("installed", made.Version, made.Info.Status)

	upgrade := action.NewUpgrade(config)
	upgrade.Namespace = namespace
	upgrade.Wait = true
	upgrade.Timeout = time.Minute
	upgraded, err := upgrade.Run("demo", chart, map[string]any{"replicas": 1, "text": "second"})
	must(err)
	fmt.Println("upgraded", upgraded.Version, upgraded.Info.Status)

	rollback := action.NewRollback(config)
	rollback.Version = 1
	rollback.Wait = true
	rollback.Timeout = time.Minute
	must(rollback.Run("demo"))

	releases, err := action.NewList(config).Run()
	must(err)
	for _, release := range releases {
		fmt.Println("listed", release.Name, release.Version, release.Info.Status, release.Info.Description)
	}
	history, err := action.NewHistory(config).Run("demo")
	must(err)
	fmt.Println("history", len(history))

	uninstall := action.NewUninstall(config)
	uninstall.Wait = true
	uninstall.Timeout = time.Minute
	_, err = uninstall.Run("demo")
	must(err)
	left, err := action.NewList(config).Run()
	must(err)
	fmt.Println("left", len(left))
}
