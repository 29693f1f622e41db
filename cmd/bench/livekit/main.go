// Command livekit puts participants into the rooms of a livekit-server, for the benchmark that compares Usher with it:
// a participant is there once a WebRTC client has connected. It is a module of its own, so that no WebRTC gets into
// Usher's dependencies; bench builds it when it is given a livekit-server.
//
// It reads lines of JSON, {"room": "…", "identities": ["…"]}, and answers each when all of them are connected:
// {"token": "…"}, which may administer that room. They stay until the server removes them or this program ends.
//
//	livekit ws://127.0.0.1:7880 KEY SECRET
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/proto"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: livekit URL KEY SECRET")
		os.Exit(2)
	}
	if err := serve(&server{url: os.Args[1], key: os.Args[2], secret: os.Args[3]}); err != nil {
		fmt.Fprintln(os.Stderr, "livekit:", err)
		os.Exit(1)
	}
}

type question struct {
	Room       string   `json:"room"`
	Identities []string `json:"identities"`
}

type answer struct {
	Token string `json:"token"`
}

func serve(s *server) error {
	questions, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q question
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for _, identity := range q.Identities {
			if err := s.join(q.Room, identity); err != nil {
				return fmt.Errorf("join %s as %s: %w", q.Room, identity, err)
			}
		}
		token, err := s.token("", &auth.VideoGrant{Room: q.Room, RoomAdmin: true})
		if err != nil {
			return err
		}
		if err := answers.Encode(answer{token}); err != nil {
			return err
		}
	}
}

// server is the livekit-server.
type server struct{ url, key, secret string }

func (s *server) token(identity string, grant *auth.VideoGrant) (string, error) {
	return auth.NewAccessToken(s.key, s.secret).SetIdentity(identity).SetVideoGrant(grant).SetValidFor(time.Hour).ToJWT()
}

const patience = 20 * time.Second

// join connects a participant, and returns when media could flow.
func (s *server) join(room, identity string) error {
	token, err := s.token(identity, &auth.VideoGrant{Room: room, RoomJoin: true})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, s.url+"/rtc?protocol=12&auto_subscribe=0&sdk=go",
		http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // of the handshake
	p, err := newParticipant(conn)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- p.follow() }() // ends with the connection, which ends with the participant or with the program
	select {
	case <-p.connected:
		return nil
	case err := <-ended:
		return fmt.Errorf("it ended before it was connected: %w", err)
	case <-ctx.Done():
		return errors.Join(errors.New("it was not connected in time"), conn.Close())
	}
}

// participant is a client that receives what there is and sends nothing.
type participant struct {
	signal    *websocket.Conn // written to by follow alone
	media     *webrtc.PeerConnection
	connected chan struct{}
	waiting   []webrtc.ICECandidateInit // that came before the offer
}

func newParticipant(signal *websocket.Conn) (*participant, error) {
	var engine webrtc.SettingEngine
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	engine.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	var codecs webrtc.MediaEngine
	if err := codecs.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	media, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine), webrtc.WithMediaEngine(&codecs)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	p := &participant{signal: signal, media: media, connected: make(chan struct{})}
	media.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			close(p.connected)
		}
	})
	return p, nil
}

// follow does what the server asks for, until it closes the connection.
func (p *participant) follow() error {
	defer func() { _ = p.media.Close() }() // nothing was sent on it
	for {
		_, message, err := p.signal.ReadMessage()
		if err != nil {
			return err
		}
		var said livekit.SignalResponse
		if err := proto.Unmarshal(message, &said); err != nil {
			return err
		}
		switch {
		case said.GetOffer() != nil:
			err = p.answer(said.GetOffer().GetSdp())
		case said.GetTrickle() != nil && said.GetTrickle().GetTarget() == livekit.SignalTarget_SUBSCRIBER:
			err = p.candidate(said.GetTrickle().GetCandidateInit())
		case said.GetLeave() != nil:
			return errors.New("the server has asked to leave")
		}
		if err != nil {
			return err
		}
	}
}

// answer answers an offer with all candidates in it: there is one address, so there is nothing to wait for.
func (p *participant) answer(offer string) error {
	if err := p.media.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return err
	}
	for _, c := range p.waiting {
		if err := p.media.AddICECandidate(c); err != nil {
			return err
		}
	}
	p.waiting = nil
	description, err := p.media.CreateAnswer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(p.media)
	if err := p.media.SetLocalDescription(description); err != nil {
		return err
	}
	<-gathered
	reply, err := proto.Marshal(&livekit.SignalRequest{Message: &livekit.SignalRequest_Answer{
		Answer: &livekit.SessionDescription{Type: "answer", Sdp: p.media.LocalDescription().SDP},
	}})
	if err != nil {
		return err
	}
	return p.signal.WriteMessage(websocket.BinaryMessage, reply)
}

func (p *participant) candidate(text string) error {
	var c webrtc.ICECandidateInit
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	if p.media.RemoteDescription() == nil {
		p.waiting = append(p.waiting, c)
		return nil
	}
	return p.media.AddICECandidate(c)
}
