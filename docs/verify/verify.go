// Verifies a delivery of pms-emitter (Standard Webhooks 1.0), with nothing but Go's standard library.
//
// As a program: go run verify.go SECRET ID TIMESTAMP SIGNATURES < body, which ends with 0 when the delivery is authentic.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

const toleranceSeconds = 300

func keyOf(secret string) ([]byte, error) {
	if encoded, found := strings.CutPrefix(secret, "whsec_"); found {
		return base64.StdEncoding.DecodeString(encoded)
	}
	return []byte(secret), nil
}

// Verify takes the raw bytes of the body, as they came. The headers are webhook-id, webhook-timestamp and webhook-signature.
func Verify(secret, id, timestamp, signatures string, body []byte, now int64) bool {
	sent, err := strconv.ParseUint(timestamp, 10, 40)
	if err != nil || now-int64(sent) > toleranceSeconds || int64(sent)-now > toleranceSeconds {
		return false
	}
	key, err := keyOf(secret)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	expected := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	// Several signatures stand there while a secret is replaced: any of them will do.
	for _, one := range strings.Split(signatures, " ") {
		if hmac.Equal([]byte(one), expected) {
			return true
		}
	}
	return false
}

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err != nil || len(os.Args) != 5 || !Verify(os.Args[1], os.Args[2], os.Args[3], os.Args[4], body, time.Now().Unix()) {
		os.Exit(1)
	}
}
