package store

// partition divides a batch into groups that share no aggregate, keeping the order of arrival within each and of the
// groups by their first member.
func partition(snapshot *Snapshot, batch []*submission) [][]*submission {
	var (
		parent = make([]int, len(batch)) // a forest: parent[i] is a submission in i's group, roots are their own
		owner  = make(map[Key]int, len(batch))
	)
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	for i, sub := range batch {
		parent[i] = i
		sub.guards = sub.aggregates(snapshot)
		for _, key := range sub.guards {
			first, shared := owner[key]
			if !shared {
				owner[key] = i
				continue
			}
			a, b := root(first), root(i)
			parent[max(a, b)] = min(a, b)
		}
	}
	var (
		groups [][]*submission
		place  = make(map[int]int) // root → index in groups
	)
	for i, sub := range batch {
		r := root(i)
		at, ok := place[r]
		if !ok {
			at = len(groups)
			place[r] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], sub)
	}
	return groups
}
