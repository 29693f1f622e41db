package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// secondPath moves with the value; some have none.
func secondPath(path string, n int) string {
	if n%5 == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%s", n%5, path)
}

// checkOrder holds ScanBy against Scan.
func (m *mapOfRows) checkOrder(t *rapid.T, s seen) {
	prefix := rapid.SampledFrom([]string{"", "1/", "2/a/x/", "4", "5"}).Draw(t, "second prefix")
	after := rapid.OneOf(rapid.Just(""), rapid.Map(somePaths, func(path string) string { return "2/" + path })).Draw(t, "second after")
	var want []Row[int]
	for row := range m.table.Scan(s.snapshot, "", "") {
		if by := secondPath(row.Path, row.Value); by != "" && strings.HasPrefix(by, prefix) && by > after {
			want = append(want, *row)
		}
	}
	slices.SortFunc(want, func(a, b Row[int]) int {
		return cmp.Compare(secondPath(a.Path, a.Value), secondPath(b.Path, b.Value))
	})
	if got := all(m.table.ScanBy(s.snapshot, prefix, after)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("by the second path there is, under %q after %q,\n%v, want\n%v", prefix, after, got, want)
	}
}

// TestASecondOrderLooksAtWhatItIsAskedFor counts the rows that are read for one name of many.
func TestASecondOrderLooksAtWhatItIsAskedFor(t *testing.T) {
	t.Parallel()
	table := numbers
	table.By = func(path string, n int) string { return fmt.Sprintf("t/%04d/%s", n/2, path) }
	ix, err := newIndex([]Definition{table})
	if err != nil {
		t.Fatal(err)
	}
	changes := make([]change, 2000)
	for i := range changes {
		path := fmt.Sprintf("t/%06d", i)
		changes[i] = change{table: table, path: path, revision: 1, row: &Row[int]{Path: path, Value: i}}
	}
	if err := ix.apply(changes, 1); err != nil {
		t.Fatal(err)
	}
	read := 0
	for range ix.snapshot().walk(orderOf(table.Name), "t/0700/", "") {
		read++
	}
	if got := all(table.ScanBy(ix.snapshot(), "t/0700/", "")); read != 2 || len(got) != 2 || got[0].Value != 1400 || got[1].Value != 1401 {
		t.Errorf("%d were read, and found is %v", read, got)
	}
}
