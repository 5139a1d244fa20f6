package sh

// table returns the commands that are not part of the shell language.
func table() map[string]tool {
	return map[string]tool{
		"printf": printf, "cat": cat, "tac": tac, "head": head, "tail": tail, "wc": wc, "nl": nl, "rev": rev, "tee": tee, "seq": seq, "yes": yes,
		"sort": sortLines, "uniq": uniq, "comm": comm, "join": join, "shuf": shuf,
		"cut": cut, "paste": paste, "tr": tr, "fold": fold, "column": column, "expand": expandTabs,
		"grep": grep, "egrep": grep, "fgrep": grep, "sed": sed, "awk": awk, "gawk": awk, "mawk": awk, "jq": jq, "diff": diff, "cmp": cmpFiles,
		"ls": ls, "cp": cp, "mv": mv, "rm": rm, "mkdir": mkdir, "rmdir": rmdir, "touch": touch, "mktemp": mktemp,
		"stat": stat, "du": du, "find": find, "basename": basename, "dirname": dirname, "realpath": realpath,
		"date": date, "xargs": xargs, "expr": expr, "base64": base64Tool, "sleep": sleep, "env": env, "printenv": env, "which": which,
		"md5sum": digest, "sha1sum": digest, "sha256sum": digest, "sha512sum": digest,
		"bash": subshell, "sh": subshell, "nproc": constant("1"), "uname": constant("Linux"), "whoami": constant("sandbox"), "hostname": constant("sandbox"),
	}
}
