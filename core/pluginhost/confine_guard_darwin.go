package pluginhost

// usageOf is not known here.
func usageOf(int) usage { return usage{} }

// groupOf is not known here.
func groupOf(int) []int { return nil }

// filesOf is not known here.
func filesOf(int) int { return 0 }
