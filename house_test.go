package usher_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors are the packages of the house from the top down: each may import those below it, and none above.
var floors = []string{"cmd", "gateway", "participants", "rooms", "tenant", "store"}

// reserved are libraries that only one package may import, so that they can be replaced in one place.
var reserved = map[string]string{
	"go.etcd.io/etcd/":              "store",
	"github.com/hashicorp/go-memdb": "store",
	"github.com/lestrrat-go/jwx/":   "tenant/token",
	"github.com/gorilla/mux":        "gateway",
	"github.com/spf13/cobra":        "cmd/usher",
	"gonum.org/v1/plot":             "cmd/bench",
}

// TestArrowsRunDown keeps the import arrows of the house (see doc.go).
func TestArrowsRunDown(t *testing.T) {
	t.Parallel()
	seen := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			seen++
			if problem := wrong(folder, imported, strings.HasSuffix(path, "_test.go")); problem != "" {
				t.Errorf("%s imports %s: %s", path, imported, problem)
			}
		}
		return nil
	})
	if err != nil || seen == 0 {
		t.Fatalf("read the source: %v, %d imports", err, seen)
	}
}

func wrong(folder, imported string, test bool) string {
	for library, owner := range reserved {
		if folder == "cmd/bench" { // compares Usher with what lies below it
			break
		}
		if strings.HasPrefix(imported, library) && folder != owner && !test {
			return "only " + owner + " may"
		}
	}
	if imported == "net/http" && floor(folder) > slices.Index(floors, "gateway") && !test {
		return "the domain knows no HTTP"
	}
	if !strings.HasPrefix(imported, "usher/") || test {
		return ""
	}
	from, to := floor(folder), floor(strings.TrimPrefix(imported, "usher/"))
	switch {
	case folder == ".":
		return "the root imports nothing of the house"
	case strings.HasPrefix(folder, "observability"):
		return "observability imports none of the others"
	case imported == "usher/observability" && from != 0:
		return "only cmd builds it; the others are handed what it made"
	case to < from:
		return "arrows run down only"
	}
	return ""
}

// floor is the place of a folder in the house; observability stands beside it.
func floor(folder string) int {
	top, _, _ := strings.Cut(folder, "/")
	if i := slices.Index(floors, top); i >= 0 {
		return i
	}
	return len(floors)
}

// TestTheCheckCanFail makes sure that the rules bite.
func TestTheCheckCanFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ folder, imported string }{
		{"store", "usher/tenant"}, {"rooms", "usher/participants"}, {"tenant", "usher/gateway"}, {"observability", "usher/store"},
		{".", "usher/store"}, {"rooms", "go.etcd.io/etcd/client/v3"}, {"tenant", "github.com/lestrrat-go/jwx/v2/jwt"},
		{"participants", "net/http"}, {"cmd/usher", "gonum.org/v1/plot"}, {"gateway", "usher/observability"},
	} {
		if wrong(c.folder, c.imported, false) == "" {
			t.Errorf("%s may import %s, it seems", c.folder, c.imported)
		}
	}
}
