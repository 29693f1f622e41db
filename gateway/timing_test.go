package gateway

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecretsAreComparedInConstantTime reads the source: no secret in the clear is an operand of a comparison, whose time
// would tell how much of it was right. The operator's key is compared by digest, API keys are looked up by theirs.
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	t.Parallel()
	compared, constant := 0, 0
	for _, pattern := range []string{"*.go", "../tenant/*.go", "../tenant/token/*.go", "../participants/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.BinaryExpr:
					if n.Op == token.EQL || n.Op == token.NEQ {
						compared++
						if reveals(n.X) || reveals(n.Y) {
							t.Errorf("%s compares a secret", set.Position(n.Pos()))
						}
					}
				case *ast.SelectorExpr:
					if n.Sel.Name == "ConstantTimeCompare" {
						constant++
					}
				}
				return true
			})
		}
	}
	if compared < 100 || constant == 0 {
		t.Errorf("only %d comparisons were seen, and %d in constant time", compared, constant)
	}
}

// reveals says whether the expression has a secret in the clear: what Reveal gives, or the field that it comes from.
func reveals(e ast.Expr) (found bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && (s.Sel.Name == "Reveal" || s.Sel.Name == "text") {
			found = true
		}
		return !found
	})
	return found
}

func TestTheCheckOfComparisonsBites(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]bool{"a.Reveal()": true, "len(s.text)": true, "string(key.Reveal())": true, "a.ID": false} {
		e, err := parser.ParseExpr(source)
		if err != nil {
			t.Fatal(err)
		}
		if reveals(e) != want {
			t.Errorf("%s reveals: %v", source, !want)
		}
	}
}
