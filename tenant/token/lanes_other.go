//go:build !amd64

package token

const hasLanes = false

func multiplyBaseIFMA(*lanes, *laneDigits, *laneTable) {
	panic("not for this processor")
}
