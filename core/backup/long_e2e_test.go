//go:build e2e

package backup

// somewhere is how many moments to die at are chosen by chance.
const somewhere = 40
