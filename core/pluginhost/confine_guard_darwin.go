package pluginhost

// threadsOf is not known here.
func threadsOf(int) int { return 0 }
