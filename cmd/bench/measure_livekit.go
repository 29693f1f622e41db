package main

// measureLiveKit is G13.
func (h *harness) measureLiveKit() ([]figure, error) {
	if h.liveKit == "" {
		return nil, notAtHand("no --livekit-server was given")
	}
	return nil, notAtHand("not yet")
}
