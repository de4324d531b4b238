package main

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// Watches a namespace in which nothing happens, and prints the revisions that bookmarks tell of meanwhile.
func bookmarks(ctx context.Context, client kubernetes.Interface) {
	maps := client.CoreV1().ConfigMaps("kube-public")
	list, err := maps.List(ctx, metav1.ListOptions{})
	must(err)
	events, err := maps.Watch(ctx, metav1.ListOptions{
		ResourceVersion:     list.ResourceVersion,
		AllowWatchBookmarks: true,
	})
	must(err)
	say("watching")
	for event := range events.ResultChan() {
		if event.Type != watch.Bookmark {
			must(errors.New("an event of type " + string(event.Type)))
		}
		bookmark := event.Object.(*corev1.ConfigMap)
		say("bookmark %s", bookmark.ResourceVersion)
	}
}
