// Renders and lints a Helm chart as `helm template` and `helm lint` do, where there is no helm.
//
//	helm-check CHART NAME NAMESPACE [VALUES.yaml]
//
// The manifests go to standard output; lint messages to standard error, and an error among them is a failure.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: helm-check CHART NAME NAMESPACE [VALUES.yaml]")
	}
	folder, name, namespace := args[0], args[1], args[2]
	given := chartutil.Values{}
	if len(args) > 3 {
		read, err := chartutil.ReadValuesFile(args[3])
		if err != nil {
			return err
		}
		given = read
	}
	linter := lint.All(folder, given, namespace, true)
	for _, message := range linter.Messages {
		fmt.Fprintln(os.Stderr, message)
	}
	if linter.HighestSeverity >= support.ErrorSev {
		return fmt.Errorf("the chart does not pass lint")
	}
	chart, err := loader.Load(folder)
	if err != nil {
		return err
	}
	options := chartutil.ReleaseOptions{Name: name, Namespace: namespace, Revision: 1, IsInstall: true}
	values, err := chartutil.ToRenderValues(chart, given, options, chartutil.DefaultCapabilities)
	if err != nil {
		return err
	}
	rendered, err := engine.Render(chart, values)
	if err != nil {
		return err
	}
	for _, crd := range chart.CRDObjects() {
		fmt.Printf("---\n%s\n", crd.File.Data)
	}
	names := make([]string, 0, len(rendered))
	for file := range rendered {
		names = append(names, file)
	}
	sort.Strings(names)
	for _, file := range names {
		if filepath.Ext(file) == ".yaml" && strings.TrimSpace(rendered[file]) != "" {
			fmt.Printf("---\n%s\n", rendered[file])
		}
	}
	return nil
}
