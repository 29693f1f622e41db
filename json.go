package usher

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// JSONObject is a JSON object that is written by appending, member by member, on paths where reflection would cost as much
// as the work itself. Names are the caller's own words and need no escaping. The zero JSONObject is empty and open.
//
// What a type writes so must be what its struct tags say: each has a test that compares the two.
type JSONObject struct{ buffer []byte }

// JSONInto begins an object at the end of the buffer.
func JSONInto(buffer []byte) JSONObject { return JSONObject{append(buffer, '{')} }

func (o *JSONObject) member(name string) {
	if o.buffer[len(o.buffer)-1] != '{' {
		o.buffer = append(o.buffer, ',')
	}
	o.buffer = append(append(append(o.buffer, '"'), name...), '"', ':')
}

// String appends a text. What is not UTF-8 in it is replaced by U+FFFD.
func (o *JSONObject) String(name, value string) {
	o.member(name)
	o.buffer, _ = jsontext.AppendQuote(o.buffer, value) // the error says what was replaced
}

// Plain appends a text of our own making in which nothing needs escaping: an id, a token, a word from a list.
func (o *JSONObject) Plain(name, value string) {
	o.member(name)
	o.buffer = append(append(append(o.buffer, '"'), value...), '"')
}

// StringIfAny appends a text unless it is empty.
func (o *JSONObject) StringIfAny(name, value string) {
	if value != "" {
		o.String(name, value)
	}
}

// Int appends a whole number.
func (o *JSONObject) Int(name string, value int64) {
	o.member(name)
	o.buffer = strconv.AppendInt(o.buffer, value, 10)
}

// Bool appends true or false.
func (o *JSONObject) Bool(name string, value bool) {
	o.member(name)
	o.buffer = strconv.AppendBool(o.buffer, value)
}

// Time appends a moment.
func (o *JSONObject) Time(name string, value Time) {
	o.member(name)
	o.buffer, _ = value.AppendText(append(o.buffer, '"')) // never fails
	o.buffer = append(o.buffer, '"')
}

// TimeIfAny appends a moment unless it is zero.
func (o *JSONObject) TimeIfAny(name string, value Time) {
	if !value.IsZero() {
		o.Time(name, value)
	}
}

// Value appends what is JSON already.
func (o *JSONObject) Value(name string, value []byte) {
	o.member(name)
	o.buffer = append(o.buffer, value...)
}

// Within has a member written by append, which is given the buffer and gives it back.
func (o *JSONObject) Within(name string, write func([]byte) []byte) {
	o.member(name)
	o.buffer = write(o.buffer)
}

// Len is how long the buffer is by now.
func (o *JSONObject) Len() int { return len(o.buffer) }

// End closes the object and gives the buffer back.
func (o *JSONObject) End() []byte { return append(o.buffer, '}') }
