// What a controller written with client-go does against the API server: `client KUBECONFIG` ends with an informer that follows
// until its standard input ends, `client KUBECONFIG wire` goes through what lies beside the typed clients' daily work,
// `client KUBECONFIG bookmarks` prints the bookmarks of a watch.
// Prints a line a step.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	appsapply "k8s.io/client-go/applyconfigurations/apps/v1"
	autoscalingapply "k8s.io/client-go/applyconfigurations/autoscaling/v1"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	metaapply "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Of each step; the test has a bound of its own for the whole.
const stepTimeout = 60 * time.Second

var lines sync.Mutex

func say(format string, values ...any) {
	lines.Lock()
	defer lines.Unlock()
	fmt.Printf(format+"\n", values...)
}

func must(err error) {
	if err != nil {
		say("error %v", err)
		os.Exit(1)
	}
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	must(err)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if len(os.Args) > 2 && os.Args[2] == "bookmarks" {
		bookmarks(ctx, client)
		return
	}
	if len(os.Args) > 2 && os.Args[2] == "wire" {
		definitions(ctx, config)
		collections(ctx, client)
		return
	}
	objects(ctx, client)
	apply(ctx, client)
	partial(ctx, config)
	elect(ctx, client)
	follow(ctx, client)
}

func objects(ctx context.Context, client kubernetes.Interface) {
	maps := client.CoreV1().ConfigMaps("default")
	made, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "go-"},
		Data:       map[string]string{"a": "1"},
		BinaryData: map[string][]byte{"b": {0, 255}},
	}, metav1.CreateOptions{})
	must(err)
	got, err := maps.Get(ctx, made.Name, metav1.GetOptions{})
	must(err)
	say("binary %v", got.BinaryData["b"])
	stale := got.DeepCopy()
	got.Data["a"] = "2"
	_, err = maps.Update(ctx, got, metav1.UpdateOptions{})
	must(err)
	_, err = maps.Update(ctx, stale, metav1.UpdateOptions{})
	say("conflict %v", apierrors.IsConflict(err))
	_, err = maps.Patch(ctx, made.Name, types.StrategicMergePatchType, []byte(`{"data":{"c":"3"}}`), metav1.PatchOptions{})
	must(err)
	must(maps.Delete(ctx, made.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(made.UID))}))
	_, err = maps.Get(ctx, made.Name, metav1.GetOptions{})
	say("gone %v", apierrors.IsNotFound(err))
	_, err = client.CoreV1().Services("default").Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "Bad"},
	}, metav1.CreateOptions{})
	say("invalid %v", apierrors.IsInvalid(err))
}

func apply(ctx context.Context, client kubernetes.Interface) {
	deployments := client.AppsV1().Deployments("default")
	wanted := appsapply.Deployment("applied", "default").WithSpec(appsapply.DeploymentSpec().
		WithReplicas(2).
		WithSelector(metaapply.LabelSelector().WithMatchLabels(map[string]string{"app": "applied"})).
		WithTemplate(coreapply.PodTemplateSpec().
			WithLabels(map[string]string{"app": "applied"}).
			WithSpec(coreapply.PodSpec().WithContainers(coreapply.Container().WithName("main").WithImage("x:1")))))
	_, err := deployments.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "go"})
	must(err)
	scale := autoscalingapply.Scale().WithSpec(autoscalingapply.ScaleSpec().WithReplicas(5))
	_, err = deployments.ApplyScale(ctx, "applied", scale, metav1.ApplyOptions{FieldManager: "scaler"})
	say("scale conflict %v", apierrors.IsConflict(err))
	scaled, err := deployments.ApplyScale(ctx, "applied", scale, metav1.ApplyOptions{FieldManager: "scaler", Force: true})
	must(err)
	say("scaled %d", scaled.Spec.Replicas)
	live, err := deployments.Get(ctx, "applied", metav1.GetOptions{})
	must(err)
	extracted, err := appsapply.ExtractDeployment(live, "go")
	must(err)
	say("extracted %s, replicas owned %v", *extracted.Spec.Template.Spec.Containers[0].Image, extracted.Spec.Replicas != nil)
	status := appsapply.Deployment("applied", "default").WithStatus(appsapply.DeploymentStatus().WithReplicas(1))
	_, err = deployments.ApplyStatus(ctx, status, metav1.ApplyOptions{FieldManager: "controller"})
	must(err)
	must(deployments.Delete(ctx, "applied", metav1.DeleteOptions{}))
}

// PartialObjectMetadata, which the garbage collector and many controllers ask for.
func partial(ctx context.Context, config *rest.Config) {
	client, err := metadata.NewForConfig(config)
	must(err)
	list, err := client.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).List(ctx, metav1.ListOptions{})
	must(err)
	found := false
	for _, item := range list.Items {
		found = found || item.Name == "kube-system"
	}
	say("metadata %v", found)
}

func elect(parent context.Context, client kubernetes.Interface) {
	ctx, cancel := context.WithTimeout(parent, stepTimeout)
	defer cancel()
	candidate := func(ctx context.Context, name string, led func()) {
		lock, err := resourcelock.New(resourcelock.LeasesResourceLock, "default", "go", nil, client.CoordinationV1(),
			resourcelock.ResourceLockConfig{Identity: name})
		must(err)
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock:            lock,
			LeaseDuration:   3 * time.Second,
			RenewDeadline:   2 * time.Second,
			RetryPeriod:     200 * time.Millisecond,
			ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { led() },
				OnStoppedLeading: func() {},
			},
		})
	}
	first, stopFirst := context.WithCancel(ctx)
	leads := make(chan string, 2)
	var both sync.WaitGroup
	both.Go(func() { candidate(first, "one", func() { leads <- "one" }) })
	say("leader %s", <-leads)
	second, stopSecond := context.WithCancel(ctx)
	both.Go(func() { candidate(second, "two", func() { leads <- "two" }) })
	stopFirst() // gives the Lease back
	say("leader %s", <-leads)
	stopSecond()
	both.Wait()
}

// An informer by watch-list and protobuf; what it holds is printed for each name that the test asks for.
func follow(ctx context.Context, client kubernetes.Interface) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace("default"))
	informer := factory.Core().V1().ConfigMaps().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			if item, ok := object.(*corev1.ConfigMap); ok {
				say("add %s %s", item.Name, item.Data["n"])
			}
		},
		UpdateFunc: func(_, object any) {
			if item, ok := object.(*corev1.ConfigMap); ok {
				say("update %s %s", item.Name, item.Data["n"])
			}
		},
		DeleteFunc: func(object any) {
			// What went while nobody watched comes as its last known state.
			if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = last.Obj
			}
			if item, ok := object.(*corev1.ConfigMap); ok {
				say("delete %s", item.Name)
			}
		},
	})
	must(err)
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		must(fmt.Errorf("never synced"))
	}
	say("synced")
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
	}
}
