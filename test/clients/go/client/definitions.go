package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	definitionclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// The types of the bodies that came, without their parameters: whether they were protobuf at all.
type bodyTypes struct {
	mutex sync.Mutex
	seen  []string
}

func (types *bodyTypes) wrap(config *rest.Config) *rest.Config {
	wrapped := rest.CopyConfig(config)
	wrapped.Wrap(func(inner http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			response, err := inner.RoundTrip(request)
			if err == nil {
				types.add(response.Header.Get("Content-Type"))
			}
			return response, err
		})
	})
	return wrapped
}

func (types *bodyTypes) add(contentType string) {
	types.mutex.Lock()
	defer types.mutex.Unlock()
	bare, _, _ := strings.Cut(contentType, ";")
	if !slices.Contains(types.seen, bare) {
		types.seen = append(types.seen, bare)
	}
}

func (types *bodyTypes) String() string {
	types.mutex.Lock()
	defer types.mutex.Unlock()
	return strings.Join(types.seen, " ")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (trip roundTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	return trip(request)
}

func pointer[T any](value T) *T { return &value }

// A schema with all that looks different in protobuf and in JSON.
func schemaOfAllShapes() *apiextensions.JSONSchemaProps {
	text := apiextensions.JSONSchemaProps{Type: "string", MinLength: pointer(int64(0)), MaxLength: pointer(int64(9))}
	spec := apiextensions.JSONSchemaProps{
		Type: "object",
		Properties: map[string]apiextensions.JSONSchemaProps{
			"size": {
				Type: "integer", Minimum: pointer(0.0), Maximum: pointer(99.5), Default: &apiextensions.JSON{Raw: []byte(`3`)},
			},
			"color":  {Type: "string", Nullable: true, Enum: []apiextensions.JSON{{Raw: []byte(`null`)}, {Raw: []byte(`"red"`)}}},
			"names":  {Type: "array", Items: &apiextensions.JSONSchemaPropsOrArray{Schema: &text}, XListType: pointer("set")},
			"labels": {Type: "object", AdditionalProperties: &apiextensions.JSONSchemaPropsOrBool{Allows: true, Schema: &text}},
			"free": {
				Type: "object", XPreserveUnknownFields: pointer(true), Description: "Whatever it is.",
				ExternalDocs: &apiextensions.ExternalDocumentation{URL: "https://example.org/"},
			},
			"port": {XIntOrString: true, AnyOf: []apiextensions.JSONSchemaProps{{Type: "integer"}, {Type: "string"}}},
		},
		Required:     []string{"size"},
		XValidations: apiextensions.ValidationRules{{Rule: "self.size >= 0", Message: "must not be negative"}},
	}
	return &apiextensions.JSONSchemaProps{
		Type:       "object",
		Properties: map[string]apiextensions.JSONSchemaProps{"spec": spec, "status": {Type: "object"}},
	}
}

func definition() *apiextensions.CustomResourceDefinition {
	return &apiextensions.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "wires.fairlead.test"},
		Spec: apiextensions.CustomResourceDefinitionSpec{
			Group: "fairlead.test",
			Scope: apiextensions.NamespaceScoped,
			Names: apiextensions.CustomResourceDefinitionNames{
				Plural: "wires", Singular: "wire", Kind: "Wire", ListKind: "WireList", ShortNames: []string{"wr"},
			},
			Conversion: &apiextensions.CustomResourceConversion{Strategy: apiextensions.NoneConverter},
			Versions: []apiextensions.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema: &apiextensions.CustomResourceValidation{OpenAPIV3Schema: schemaOfAllShapes()},
				Subresources: &apiextensions.CustomResourceSubresources{
					Status: &apiextensions.CustomResourceSubresourceStatus{},
					Scale: &apiextensions.CustomResourceSubresourceScale{
						SpecReplicasPath: ".spec.size", StatusReplicasPath: ".status.size",
					},
				},
				AdditionalPrinterColumns: []apiextensions.CustomResourceColumnDefinition{
					{Name: "Size", Type: "integer", JSONPath: ".spec.size", Priority: 1},
				},
			}},
		},
	}
}

// CustomResourceDefinitions by the apiextensions clientset and the metadata of custom resources, both in protobuf.
func definitions(ctx context.Context, config *rest.Config) {
	var types bodyTypes
	clients, err := definitionclient.NewForConfig(types.wrap(config))
	must(err)
	crds := clients.ApiextensionsV1().CustomResourceDefinitions()
	wanted := definition()
	made, err := crds.Create(ctx, wanted, metav1.CreateOptions{})
	must(err)
	say("definition kept %v", equality.Semantic.DeepEqual(made.Spec, wanted.Spec))
	events, err := crds.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + made.Name})
	must(err)
	established := waitFor(events, func(event watch.Event) bool {
		crd, ok := event.Object.(*apiextensions.CustomResourceDefinition)
		return ok && slices.ContainsFunc(crd.Status.Conditions, func(condition apiextensions.CustomResourceDefinitionCondition) bool {
			return condition.Type == apiextensions.Established && condition.Status == apiextensions.ConditionTrue
		})
	})
	say("definition established %v", established)
	got, err := crds.Get(ctx, made.Name, metav1.GetOptions{})
	must(err)
	got.Spec.Versions[0].Deprecated = true
	got.Spec.Versions[0].DeprecationWarning = pointer("wires are old")
	updated, err := crds.Update(ctx, got, metav1.UpdateOptions{})
	must(err)
	say("definition updated %v", equality.Semantic.DeepEqual(updated.Spec, got.Spec))
	list, err := crds.List(ctx, metav1.ListOptions{})
	must(err)
	say("definitions listed %v", slices.ContainsFunc(list.Items, func(crd apiextensions.CustomResourceDefinition) bool {
		return equality.Semantic.DeepEqual(crd.Spec, updated.Spec)
	}))
	say("definitions as %s", &types)
	customMetadata(ctx, config)
	must(crds.Delete(ctx, made.Name, metav1.DeleteOptions{}))
}

func customMetadata(ctx context.Context, config *rest.Config) {
	wires := schema.GroupVersionResource{Group: "fairlead.test", Version: "v1", Resource: "wires"}
	objects, err := dynamic.NewForConfig(rest.CopyConfig(config))
	must(err)
	for at := range 3 {
		wire := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "fairlead.test/v1", "kind": "Wire",
			"metadata": map[string]any{"name": fmt.Sprintf("w%d", at), "labels": map[string]any{"odd": fmt.Sprint(at % 2)}},
			"spec":     map[string]any{"size": int64(at)},
		}}
		_, err := objects.Resource(wires).Namespace("default").Create(ctx, wire, metav1.CreateOptions{})
		must(err)
	}
	var seen bodyTypes
	client, err := metadata.NewForConfig(seen.wrap(config))
	must(err)
	partials := client.Resource(wires).Namespace("default")
	list, err := partials.List(ctx, metav1.ListOptions{LabelSelector: "odd=0"})
	must(err)
	say("metadata of custom %d, revision %v", len(list.Items), list.ResourceVersion != "")
	one, err := partials.Get(ctx, "w1", metav1.GetOptions{})
	must(err)
	say("metadata of one %s %s", one.Name, one.Labels["odd"])
	events, err := partials.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	must(err)
	patched, err := partials.Patch(ctx, "w1", types.MergePatchType, []byte(`{"metadata":{"labels":{"odd":"2"}}}`), metav1.PatchOptions{})
	must(err)
	say("metadata patched %s", patched.Labels["odd"])
	say("metadata watched %v", waitFor(events, func(event watch.Event) bool {
		partial, ok := event.Object.(*metav1.PartialObjectMetadata)
		return ok && event.Type == watch.Modified && partial.Name == "w1" && partial.Labels["odd"] == "2"
	}))
	say("metadata as %s", &seen)
	must(partials.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "odd=0"}))
	left, err := partials.List(ctx, metav1.ListOptions{})
	must(err)
	say("metadata left %d", len(left.Items))
}

// Whether an event came that is wanted. Ends the watch.
func waitFor(events watch.Interface, wanted func(watch.Event) bool) bool {
	defer events.Stop()
	for event := range events.ResultChan() {
		if wanted(event) {
			return true
		}
	}
	return false
}
