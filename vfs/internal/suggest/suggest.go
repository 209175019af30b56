// Package suggest finds the word that a misspelt word was meant to be.
package suggest

// Nearest returns the word that a misspelt word probably stands for, or "".
func Nearest(word string, words []string) string {
	best, limit := "", max(2, len(word)/3)+1
	for _, w := range words {
		if d := distance(word, w); d < limit {
			best, limit = w, d
		}
	}
	return best
}

// distance counts the edits that lead from a to b: each inserts, removes or replaces a
// byte, or swaps it with the next one.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			differ := 1
			if a[i-1] == b[j-1] {
				differ = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+differ)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
