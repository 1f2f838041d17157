package exec

import (
	"container/heap"
	"context"

	"github.com/tengil/tengil/engine"
)

// ready holds the jobs that wait for nothing but their turn, by class. So what
// may start next is found without a look at all jobs, however many there are.
type ready map[engine.Class]*jobHeap

func (q ready) add(j *job) {
	if q[j.class] == nil {
		q[j.class] = &jobHeap{}
	}
	heap.Push(q[j.class], j)
}

// next takes out the first job in plan order of a class that has room; nil if
// there is none.
func (q ready) next(room func(engine.Class) bool) *job {
	var first *jobHeap
	for class, h := range q {
		if h.Len() > 0 && room(class) && (first == nil || (*h)[0].place < (*first)[0].place) {
			first = h
		}
	}
	if first == nil {
		return nil
	}
	return heap.Pop(first).(*job)
}

func (r *run) startReady(ctx, work context.Context) {
	for j := r.ready.next(r.room); j != nil; j = r.ready.next(r.room) {
		r.start(ctx, work, j)
	}
}

// room reports whether one more of the class may run.
func (r *run) room(c engine.Class) bool {
	for _, k := range countsAs(c) {
		limit, ok := r.opts.Limits[k]
		if !ok {
			limit, ok = defaultLimits[k]
		}
		if ok && r.busy[k] >= limit {
			return false
		}
	}
	return true
}

func countsAs(c engine.Class) []engine.Class {
	if c == engine.Download || c == engine.Unpack {
		return []engine.Class{c, Long, total}
	}
	return []engine.Class{c, total}
}

// A jobHeap is a heap by place in the plan, for package container/heap.
type jobHeap []*job

func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, j int) bool { return h[i].place < h[j].place }
func (h jobHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *jobHeap) Push(x any) { *h = append(*h, x.(*job)) }

// Pop implements heap.Interface.
func (h *jobHeap) Pop() any {
	s := *h
	last := s[len(s)-1]
	*h = s[:len(s)-1]
	return last
}
