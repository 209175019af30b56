package uri

import "testing"

func TestIsTrue(t *testing.T) {
	for value, want := range map[string]bool{
		"": false, "0": false, "00": false, "no": false, "OFF": false, "False": false, "maybe": false,
		"1": true, "on": true, "Yes": true, "TRUE": true, "42": true, "01": true, "1x": true,
	} {
		if IsTrue(value) != want {
			t.Errorf("%q is %v", value, !want)
		}
	}
}
