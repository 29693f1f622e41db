package tenant

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"usher"
	"usher/store"
	"usher/tenant/token"
)

// onLog is a Service on a real log of its own.
func onLog(t *testing.T) *Service {
	t.Helper()
	log, err := store.Embed(t.Context(), store.EmbedOptions{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	opened, err := store.Open(log, store.Options{Logger: slog.New(slog.DiscardHandler)}, Definitions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := opened.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	master := filepath.Join(t.TempDir(), "master")
	if err := token.CreateMasterKeyFile(master); err != nil {
		t.Fatal(err)
	}
	keys, err := token.LoadMasterKeys(master)
	if err != nil {
		t.Fatal(err)
	}
	return New(opened, keys, "https://usher.example", time.Now, nil)
}

var operator = Actor{By: ByOperator, RequestID: "test"}

// TestAChangeThatMovedIsWorkedOutAgain: of many patches at once none is lost, whatever each was worked out from.
func TestAChangeThatMovedIsWorkedOutAgain(t *testing.T) {
	t.Parallel()
	s := onLog(t)
	owner, _, err := s.Create(t.Context(), NewTenant{Name: "a"}, operator)
	if err != nil {
		t.Fatal(err)
	}
	const patches = 8
	failed := make(chan error, patches)
	for i := range patches {
		go func() {
			_, err := s.PatchSettings(t.Context(), owner.ID, fmt.Appendf(nil, `{"roles":{"r%d":[]}}`, i), "", operator)
			failed <- err
		}()
	}
	for range patches {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	after, err := s.Get(owner.ID)
	if err != nil || len(after.Settings.Roles) != 3+patches || after.Version != 1+patches {
		t.Errorf("after %d patches: version %d with %d roles, %v", patches, after.Version, len(after.Settings.Roles), err)
	}
}

func TestAChangeThatMovesAllTheTimeIsGivenUp(t *testing.T) {
	t.Parallel()
	attempts := 0
	_, err := prepared(func() (int, error) { attempts++; return 0, errMoved })
	if !usher.HasCode(err, usher.CodeUnavailable) || attempts != maxPreparations {
		t.Errorf("after %d attempts: %v", attempts, err)
	}
}

// TestOnlyOneFieldErrorTellsOfTooMany: what no sound patch has so many of is not looked at one by one.
func TestOnlyOneFieldErrorTellsOfTooMany(t *testing.T) {
	t.Parallel()
	many := func(n int, format string) string {
		list := make([]string, n)
		for i := range list {
			list[i] = strings.ReplaceAll(format, "#", fmt.Sprint(i))
		}
		return strings.Join(list, ",")
	}
	for patch, want := range map[string]string{
		`{"roles":{` + many(3600, `"#":1`) + `}}`:          "roles must name at most 64 roles in one patch",
		`{` + many(3600, `"#":1`) + `}`:                    " must have at most 64 members",
		`{"allowed_origins":[` + many(5000, `1`) + `]}`:    "allowed_origins must have at most 64",
		`{"roles":{"host":[` + many(5000, `"fly"`) + `]}}`: "roles.host must have at most 16",
	} {
		mustRefuse(t, Overrides{}, patch, want)
	}
	_, _, err := Overrides{}.Patch([]byte(`{"roles":{`+many(60, `"#":1`)+`},`+many(50, `"x#":1`)+`}`), Baseline{})
	if got := len(usher.AsError(err).Fields); got != usher.MostFieldErrors {
		t.Errorf("%d faults are told", got)
	}
	var n NewBaseline
	n.Ceilings = settingsPatch{}
	for i := range 3600 {
		n.Ceilings[fmt.Sprint(i)] = nil
	}
	if problems := n.Validate(); len(problems) != 1 {
		t.Errorf("%d problems of too many ceilings", len(problems))
	}
	key := NewKey{Name: "k", Scopes: make([]Scope, 80_000)}
	if problems := key.Validate(); len(problems) != 1 {
		t.Errorf("%d problems of too many scopes", len(problems))
	}
}
