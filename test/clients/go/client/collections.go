package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Lists, watches and deletes of many objects. The cluster has a garbage collector.
func collections(ctx context.Context, client kubernetes.Interface) {
	maps := client.CoreV1().ConfigMaps("default")
	before, err := maps.List(ctx, metav1.ListOptions{})
	must(err)
	for at := range 7 {
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("page-%d", at), Labels: map[string]string{"page": "yes", "odd": fmt.Sprint(at % 2)},
		}}, metav1.CreateOptions{})
		must(err)
	}
	revisions(ctx, maps, before.ResourceVersion)
	pages(ctx, maps)
	stream(ctx, maps)
	preconditions(ctx, maps)
	must(maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "odd=1"}))
	say("left of a label %s", names(ctx, maps, "page=yes"))
	must(maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{
		LabelSelector: "page=yes", FieldSelector: "metadata.name!=page-4",
	}))
	say("left of a field %s", names(ctx, maps, "page=yes"))
	must(maps.DeleteCollection(ctx, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}, metav1.ListOptions{LabelSelector: "page=yes"}))
	say("left of a dry run %s", names(ctx, maps, "page=yes"))
	must(maps.Delete(ctx, "page-4", metav1.DeleteOptions{}))
	propagation(ctx, client)
}

func names(ctx context.Context, maps typedcorev1.ConfigMapInterface, selector string) string {
	list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: selector})
	must(err)
	found := []string{}
	for _, item := range list.Items {
		found = append(found, item.Name)
	}
	return fmt.Sprint(found)
}

func count(ctx context.Context, maps typedcorev1.ConfigMapInterface, options metav1.ListOptions) int {
	options.LabelSelector = "page=yes"
	list, err := maps.List(ctx, options)
	must(err)
	return len(list.Items)
}

func revisions(ctx context.Context, maps typedcorev1.ConfigMapInterface, before string) {
	exact := metav1.ListOptions{ResourceVersion: before, ResourceVersionMatch: metav1.ResourceVersionMatchExact}
	notOlder := metav1.ListOptions{ResourceVersion: before, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan}
	say("exact %d, not older %d", count(ctx, maps, exact), count(ctx, maps, notOlder))
	_, err := maps.List(ctx, metav1.ListOptions{
		ResourceVersion: "900000000", ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	say("of the future %v %v", apierrors.IsTimeout(err), apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge))
	_, err = maps.List(ctx, metav1.ListOptions{ResourceVersionMatch: metav1.ResourceVersionMatchExact})
	say("match of nothing %v", apierrors.IsInvalid(err) || apierrors.IsBadRequest(err))
}

// A list in pages shows one moment: what is made and goes between two pages is not seen.
func pages(ctx context.Context, maps typedcorev1.ConfigMapInterface) {
	options := metav1.ListOptions{Limit: 3}
	seen := []string{}
	remaining := []int64{}
	revisions := []string{}
	for {
		page, err := maps.List(ctx, options)
		must(err)
		for _, item := range page.Items {
			if item.Labels["page"] == "yes" {
				seen = append(seen, item.Name)
			}
		}
		if !slices.Contains(revisions, page.ResourceVersion) {
			revisions = append(revisions, page.ResourceVersion)
		}
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
		remaining = append(remaining, *page.RemainingItemCount)
		if len(remaining) == 1 {
			_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
				Name: "page-9", Labels: map[string]string{"page": "yes", "odd": "1"},
			}}, metav1.CreateOptions{})
			must(err)
			must(maps.Delete(ctx, "page-6", metav1.DeleteOptions{}))
		}
	}
	say("pages %d, to page-6 %v, of %d moment, downwards %v", len(seen), slices.Contains(seen, "page-6"), len(revisions),
		slices.IsSortedFunc(remaining, func(a, b int64) int { return int(b - a) }))
}

// A watch that begins with the state, tells where that ends and how far it has come since.
func stream(ctx context.Context, maps typedcorev1.ConfigMapInterface) {
	events, err := maps.Watch(ctx, metav1.ListOptions{
		LabelSelector: "page=yes", AllowWatchBookmarks: true, SendInitialEvents: pointer(true),
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	must(err)
	added := 0
	ended := waitFor(events, func(event watch.Event) bool {
		item, ok := event.Object.(*corev1.ConfigMap)
		if event.Type == watch.Added {
			added++
		}
		return ok && event.Type == watch.Bookmark && item.Annotations[metav1.InitialEventsAnnotationKey] == "true" &&
			item.ResourceVersion != ""
	})
	say("initial events %d, their end %v", added, ended)
}

func preconditions(ctx context.Context, maps typedcorev1.ConfigMapInterface) {
	live, err := maps.Get(ctx, "page-0", metav1.GetOptions{})
	must(err)
	other := types.UID("00000000-0000-0000-0000-000000000000")
	err = maps.Delete(ctx, "page-0", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
	say("another uid %v", apierrors.IsConflict(err))
	err = maps.Delete(ctx, "page-0", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: pointer("1")}})
	say("another revision %v", apierrors.IsConflict(err))
	must(maps.Delete(ctx, "page-0", metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &live.UID, ResourceVersion: &live.ResourceVersion},
	}))
}

// What becomes of the Pods of a ReplicaSet that goes, by each policy.
func propagation(ctx context.Context, client kubernetes.Interface) {
	sets := client.AppsV1().ReplicaSets("default")
	pods := client.CoreV1().Pods("default")
	for _, policy := range []metav1.DeletionPropagation{
		metav1.DeletePropagationOrphan, metav1.DeletePropagationBackground, metav1.DeletePropagationForeground,
	} {
		label := map[string]string{"policy": string(policy)}
		selector := metav1.ListOptions{LabelSelector: "policy=" + string(policy)}
		set, err := sets.Create(ctx, &appsv1.ReplicaSet{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "set-", Labels: label},
			Spec: appsv1.ReplicaSetSpec{
				Replicas: pointer(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: label},
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: label},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "x:1"}}},
				},
			},
		}, metav1.CreateOptions{})
		must(err)
		until(ctx, "Pods of "+string(policy), func() bool { return len(podsOf(ctx, client, selector)) == 2 })
		if policy == metav1.DeletePropagationForeground {
			holdBack(ctx, client, selector)
		}
		must(sets.Delete(ctx, set.Name, metav1.DeleteOptions{PropagationPolicy: &policy}))
		if policy == metav1.DeletePropagationForeground {
			waiting, err := sets.Get(ctx, set.Name, metav1.GetOptions{})
			must(err)
			say("Foreground waits %v", waiting.DeletionTimestamp != nil && slices.Contains(waiting.Finalizers, metav1.FinalizerDeleteDependents))
			letGo(ctx, client, selector)
		}
		until(ctx, "end of "+set.Name, func() bool {
			_, err := sets.Get(ctx, set.Name, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
		if policy == metav1.DeletePropagationOrphan {
			left := podsOf(ctx, client, selector)
			orphans := slices.IndexFunc(left, func(pod corev1.Pod) bool { return len(pod.OwnerReferences) > 0 }) == -1
			say("Orphan leaves %d, without owner %v", len(left), orphans)
			must(pods.DeleteCollection(ctx, metav1.DeleteOptions{}, selector))
			continue
		}
		until(ctx, "end of the Pods of "+set.Name, func() bool { return len(podsOf(ctx, client, selector)) == 0 })
		say("%s leaves 0", policy)
	}
}

func podsOf(ctx context.Context, client kubernetes.Interface, selector metav1.ListOptions) []corev1.Pod {
	list, err := client.CoreV1().Pods("default").List(ctx, selector)
	must(err)
	return list.Items
}

const finalizer = "fairlead.test/held"

func holdBack(ctx context.Context, client kubernetes.Interface, selector metav1.ListOptions) {
	setFinalizers(ctx, client, selector, `["`+finalizer+`"]`)
}

func letGo(ctx context.Context, client kubernetes.Interface, selector metav1.ListOptions) {
	setFinalizers(ctx, client, selector, `null`)
}

func setFinalizers(ctx context.Context, client kubernetes.Interface, selector metav1.ListOptions, finalizers string) {
	patch := []byte(`{"metadata":{"finalizers":` + finalizers + `}}`)
	for _, pod := range podsOf(ctx, client, selector) {
		_, err := client.CoreV1().Pods("default").Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		must(err)
	}
}

func until(ctx context.Context, what string, holds func() bool) {
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, stepTimeout, true, func(context.Context) (bool, error) { return holds(), nil })
	if err != nil {
		must(fmt.Errorf("%s: %w", what, err))
	}
}
