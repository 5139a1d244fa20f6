package guests_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/session"
)

// TestNothingOfTheHost runs what people try in a sandbox in the guests as they
// are made, without the confinement of a worker around them: the guest alone
// must hold. What a guest may import at all is in package engine's
// TestEveryImportOfEveryGuest, raw calls of WASI in package wasi's tests, and
// bombs in TestBombs.
func TestNothingOfTheHost(t *testing.T) {
	// Text that only the host has, in a file that everybody may read and in the environment.
	canary := "canary-" + rand.Text()
	file := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(file, []byte(canary), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SALLYPORT_CANARY", canary)
	host := []string{canary, "root:x:", "Linux version", os.Args[0]}

	for language, list := range attacks {
		for i, a := range list {
			t.Run(fmt.Sprint(language, i), func(t *testing.T) {
				s := open(t, session.Setup{Tables: tables(t)})
				code := strings.ReplaceAll(a.code, "HOSTFILE", file)
				r := exec(t, s, language, code)
				got := fmt.Sprintf("exit %d, killed %q, stdout %q, stderr %q", r.Exit, r.Killed, grid(t, r), r.Stderr)
				for _, h := range host {
					if strings.Contains(grid(t, r)+r.Stdout+r.Stderr, h) {
						t.Errorf("shows %q of the host", h)
					}
				}
				text, fails := strings.CutPrefix(a.want, "!")
				end, dies := strings.CutPrefix(a.want, "killed: ")
				switch {
				case dies && r.Killed == end:
				case fails && r.Killed == "" && r.Exit != 0 && strings.Contains(r.Stderr, text):
				case !dies && !fails && r.Exit == 0 && grid(t, r) == a.want:
				default:
					t.Errorf("want %q", a.want)
				}
				if after := exec(t, s, language, alive[language]); after.Exit != 0 {
					t.Errorf("the next program: %+v", after)
				}
				if t.Failed() {
					t.Logf("%s\n%s", code, got)
				}
			})
		}
	}
}

var alive = map[string]string{session.Python: "print('alive')", session.Shell: "echo alive", session.SQL: "SELECT 'alive'"}

// attacks are programs that want something outside of their sandbox; HOSTFILE
// stands for a file of the host. What is wanted is !text for an error that says
// text, killed: end for a guest that ends in this way, and otherwise just what the
// program writes, all of which is of the guest.
var attacks = map[string][]struct{ code, want string }{
	session.Python: {
		// The network.
		{"import socket; socket.socket()", "!OSError: [Errno 40] no network in the sandbox"},
		{"import socket; socket.create_connection(('127.0.0.1', 80), 1)", "!no network in the sandbox"},
		{"import socket; socket.getaddrinfo('localhost', 80)", "!socket.gaierror: [Errno 40] no network"},
		{"import socket; socket.gethostbyname('localhost')", "!no network"},
		{"import socket; print(socket.gethostname())", "sandbox\n"},
		{"import socket; socket.socketpair()", "!no network"},
		{"import socket; socket.socket(fileno=1).send(b'x')", "!Not a socket"},
		{"import socket; socket.create_server(('', 0))", "!no network"},
		{"import _socket; _socket.socket(2, 1, 0).connect(('127.0.0.1', 80))", "!Not supported"},
		{"import urllib.request; urllib.request.urlopen('http://127.0.0.1/')", "!URLError: <urlopen error [Errno 40] no network in the sandbox>"},
		{"import urllib.request; urllib.request.urlopen('file:///etc/passwd')", "!No such file"},
		{"import urllib.request; urllib.request.urlopen('file://HOSTFILE')", "!No such file"},
		{"import http.client; http.client.HTTPConnection('127.0.0.1').request('GET', '/')", "!no network"},
		{"import asyncio; await asyncio.open_connection('127.0.0.1', 80)", "!no network"},
		{"import asyncio; await asyncio.create_subprocess_exec('ls')", "!no processes"},
		{"import ssl", "!No module named '_ssl'"},

		// Processes, threads, foreign code.
		{"import subprocess; subprocess.run(['ls'])", "!does not support processes"},
		{"import os; os.fork()", "!OSError: [Errno 58] no processes in the sandbox"},
		{"import os; os.execv('/bin/sh', ['sh'])", "!no processes"},
		{"import os; os.posix_spawn('/bin/sh', ['sh'], {})", "!no processes"},
		{"import os; os.spawnv(0, '/bin/sh', ['sh'])", "!no attribute 'spawnv'"},
		{"import os; os.system('id')", "!no processes"},
		{"import os; os.popen('id')", "!does not support processes"},
		{"import threading; threading.Thread(target=print).start()", "!can't start new thread"},
		{"import _thread; _thread.start_new_thread(print, ())", "!can't start new thread"},
		{"import multiprocessing; multiprocessing.Process(target=print).start()", "!no processes"},
		{"import threading; threading.Timer(0, print).start()", "!RuntimeError: can't start new thread: the sandbox has only one"},
		{"from concurrent.futures import ProcessPoolExecutor\nProcessPoolExecutor().submit(print).result()", "!lacks multiprocessing.synchronize"},
		{"import ctypes", "!No module named 'ctypes'"},
		{"import _ctypes", "!No module named '_ctypes'"},
		{"import _imp; _imp.create_dynamic", "!no attribute 'create_dynamic'"},
		{"import mmap", "!No module named 'mmap'"},
		{"import signal, os; os.kill(1, signal.SIGKILL)", "!no processes"},
		{"import signal; signal.alarm(1)", "!no attribute 'alarm'"},
		{"import signal; signal.raise_signal(signal.SIGKILL)", "killed: crash"},
		{"import os; os.abort()", "killed: crash"},
		{"import os; os._exit(0)", "killed: exit"},
		{"import faulthandler; faulthandler._sigsegv()", "killed: crash"},
		{"import _sbx; _sbx.call(b'{\"read\": \"/etc/passwd\"}')", "!the host refused the request"},

		// Files.
		{"open('/etc/passwd')", "!FileNotFoundError"},
		{"open('../../etc/passwd')", "!FileNotFoundError"},
		{"open('/tmp/../../../../../../etc/passwd')", "!FileNotFoundError"},
		{"open('HOSTFILE')", "!FileNotFoundError"},
		{"open('../../../../../..HOSTFILE')", "!FileNotFoundError"},
		{"open('/data/../..HOSTFILE')", "!FileNotFoundError"},
		{"open('/proc/self/environ')", "!FileNotFoundError"},
		{"open('/proc/self/maps')", "!FileNotFoundError"},
		{"open('/proc/1/root/etc/passwd')", "!FileNotFoundError"},
		{"open('/dev/mem', 'rb')", "!FileNotFoundError"},
		{"open('/dev/fd/3')", "!FileNotFoundError"},
		{"open(3)", "!IsADirectoryError"},
		{"import os\nfor fd in range(3, 4096):\n    try: os.read(fd, 10)\n    except OSError: continue\n    print('descriptor', fd)", ""},
		{"import os; os.write(3, b'x')", "!Bad file descriptor"},
		{"import os; os.open('../..HOSTFILE', os.O_RDONLY, dir_fd=3)", "!FileNotFoundError"},
		{"import os; os.symlink('HOSTFILE', 'l')", "!Function not implemented"},
		{"import os; os.link('/lib/python313.zip', 'l')", "!Function not implemented"},
		{"import os; os.readlink('/proc/self/exe')", "!Function not implemented"},
		{"import os; os.mkfifo('p')", "!no attribute 'mkfifo'"},
		{"import os; os.mknod('d')", "!no attribute 'mknod'"},
		{"import os; os.chroot('/')", "!no attribute 'chroot'"},
		{"import os; os.chmod('/data', 0o777); open('/data/x', 'w')", "!Read-only"},
		{"import os; os.chown('/data', 0, 0)", "!no attribute 'chown'"},
		{"open('/lib/python313.zip', 'ab')", "!Read-only"},
		{"open('/lib/sitecustomize.py', 'w')", "!Read-only"},
		{"open('/data/main.sales.reviews.db', 'r+b')", "!Read-only"},
		{"open('/data/x', 'w')", "!Read-only"},
		{"open('/x', 'w')", "!Read-only"},
		{"import os; os.rename('/data/main.sales.reviews.db', '/tmp/x')", "!Read-only"},
		{"import os; os.remove('/data/main.sales.reviews.db')", "!Read-only"},
		{"import os; os.truncate('/data/main.sales.reviews.db', 0)", "!Read-only"},
		{"import os; os.mkdir('/etc')", "!Read-only"},
		{"import shutil; shutil.rmtree('/data')", "!Read-only"},
		{"import sqlite3; sqlite3.connect('HOSTFILE').execute('SELECT 1 FROM sqlite_schema')", "!unable to open"},
		{"import sqlite3; sqlite3.connect(':memory:').execute(\"ATTACH '/etc/passwd' AS p\")", "!unable to open"},
		{"import sqlite3; sqlite3.connect(':memory:').enable_load_extension(True)", "!no attribute 'enable_load_extension'"},
		{"import sqlite3; sqlite3.connect(':memory:').execute(\"VACUUM INTO '/data/x'\")", "!unable to open"},
		{"import os; os.listdir('/etc')", "!FileNotFoundError"},

		// What it may know.
		{"import os; print(sorted(os.listdir('/')), sorted(os.listdir('../../..')), os.getcwd())", "['data', 'lib', 'tmp'] ['data', 'lib', 'tmp'] /tmp\n"},
		{"import os; print(os.environ)", "environ({'HOME': '/tmp'})\n"},
		{"import os; print(os.getenv('SALLYPORT_CANARY'), os.getenv('PATH'))", "None None\n"},
		{"import sys; print(sys.argv, sys.executable, sys.path)", "['']  ['/lib/python313.zip', '/tmp']\n"},
		{"import os; print(os.getpid())", "42\n"},
		{"import os; os.getuid()", "!no attribute 'getuid'"},
		{"import os; os.getppid()", "!no attribute 'getppid'"},
		{"import os; os.getlogin()", "!no attribute 'getlogin'"},
		{"import pwd", "!No module named 'pwd'"},
		{"import getpass; getpass.getuser()", "!No username set"},
		{"import os; print(*os.uname())", "wasi (none) 0.0.0 0.0.0 wasm32\n"},
		{"import platform; print(platform.node(), platform.platform(), platform.processor())", "(none) wasi-0.0.0-wasm32-32bit \n"},
		{"import os; print(os.cpu_count())", "1\n"},
		{"import os; os.getloadavg()", "!no attribute 'getloadavg'"},
		{"import resource", "!No module named 'resource'"},
		{"import time; print(time.tzname)", "('UTC', 'UTC')\n"},
		{"import os; print(os.path.expanduser('~root'))", "~root\n"},
		{"input()", "!EOFError"},
	},
	session.Shell: {
		{"cat /etc/passwd", "!No such file"},
		{"cat ../../../etc/passwd", "!No such file"},
		{"cat HOSTFILE", "!No such file"},
		{"cat ../../../../../..HOSTFILE", "!No such file"},
		{"cd /data && cat ../..HOSTFILE", "!No such file"},
		{"cd /etc", "!no such file"},
		{"cat < HOSTFILE", "!No such file"},
		{"read -r x < /proc/self/environ", "!No such file"},
		{"x=$(< /etc/passwd); test -n \"$x\"", "!No such file"},
		{"x=$(<HOSTFILE); test -n \"$x\"", "!No such file"},
		{"mapfile -t a < /etc/passwd", "!No such file"},
		{"cat <(cat HOSTFILE) && false", "!No such file"},
		{". HOSTFILE", "!No such file"},
		{"source /etc/profile", "!No such file"},
		{"sh HOSTFILE", "!No such file"},
		{"HOSTFILE", "!No such file"},
		{"../../bin/bash -c id", "!No such file"},
		{"exec cat HOSTFILE", "!No such file"},
		{"exec /bin/bash -c 'cat HOSTFILE'", "!No such file"},
		{"exec 3<>/dev/tcp/127.0.0.1/80", "!unsupported redirect"},
		{"echo x > /dev/tcp/127.0.0.1/80", "!No such file"},
		{"cat < /dev/udp/127.0.0.1/53", "!No such file"},
		{"ln -s HOSTFILE x", "!ln: command not found"},
		{"mkfifo p", "!mkfifo: command not found"},
		{"mknod d c 1 1", "!mknod: command not found"},
		{"mount", "!mount: command not found"},
		{"chroot /", "!chroot: command not found"},
		{"curl http://127.0.0.1", "!curl: command not found"},
		{"nc 127.0.0.1 80", "!nc: command not found"},
		{"ps", "!ps: command not found"},
		{"python3 -c 1", "!python3: command not found"},
		{"kill -9 1", "!unsupported builtin"},
		{"ulimit -n 1000000", "!unsupported builtin"},
		{"umask 000; umask", "!unsupported builtin"},
		{"cp HOSTFILE .", "!No such file"},
		{"cp /lib/python313.zip /data/x", "!Read-only"},
		{"echo x > /lib/sitecustomize.py", "!Read-only"},
		{"echo x > /data/main.sales.reviews.csv", "!Read-only"},
		{"rm -rf /data", "!Read-only"},
		{"mv /data/main.sales.reviews.csv .", "!Read-only"},
		{"chmod 777 /data", "!chmod: command not found"},
		{"sed -i s/a/b/ /data/main.sales.reviews.csv", "!Read-only"},
		{"echo x | sed 'r HOSTFILE'", "x\n"},
		{"echo id | sed 's/x/y/e;1e id'", "!not available"},
		{"echo x | sed 'w /data/x'", "!Read-only"},
		{"awk 'BEGIN { system(\"id\") }'", "!commands inside awk"},
		{"awk 'BEGIN { \"id\" | getline x; print x }'", "!commands inside awk"},
		{"awk 'BEGIN { print \"x\" | \"sh\" }'", "!commands inside awk"},
		{"awk 'BEGIN { r = (getline l < \"HOSTFILE\"); print r, l }'", "-1 \n"},
		{"awk 'BEGIN { print \"x\" > \"/data/x\" }'", "!Read-only"},
		{"awk 'BEGIN { for (k in ENVIRON) print k }' | sort | paste -sd' ' -", "HOME LANG PATH TMPDIR USER\n"},
		{"jq -n 'env.SALLYPORT_CANARY, $ENV.SALLYPORT_CANARY, (env | length)' | paste -sd' ' -", "null null 5\n"},
		{"jq -n 'include \"HOSTFILE\"; 1'", "!cannot load module"},
		{"jq -n --rawfile a HOSTFILE '$a'", "!No such file"},
		{"find / -type d | sort | paste -sd' ' -", "/ /data /lib /tmp\n"},
		{"grep -rl root: /etc /proc /home", "!No such file"},
		{"ls /; echo /* /etc/* ~root; pwd", "data\nlib\ntmp\n/data /lib /tmp /etc/* ~root\n/tmp\n"},
		{"env", "HOME=/tmp\nLANG=C.UTF-8\nPATH=/bin\nTMPDIR=/tmp\nUSER=sandbox\n"},
		{"echo \"[$SALLYPORT_CANARY] [${SALLYPORT_CANARY-unset}] $HOSTNAME\"", "[] [unset] \n"},
		{"echo $$ $PPID $UID $EUID $GID", "3 2 1 1 1\n"},
		{"hostname; whoami; uname -a", "sandbox\nsandbox\nLinux\n"},
		{"date +%Z", "UTC\n"},
		{"test -e HOSTFILE || test -e /proc || test -e /etc || echo none", "none\n"},
		{"read -r x; echo \"$? [$x]\"", "1 []\n"},
	},
	session.SQL: {
		{"ATTACH 'HOSTFILE' AS h", "!not allowed here"},
		{"ATTACH 'file:/proc/self/environ?mode=ro&immutable=1' AS h", "!not allowed here"},
		{"ATTACH '/tmp/x.db' AS h", "!not allowed here"},
		{"ATTACH '../../..' || 'HOSTFILE' AS h", "!not allowed here"},
		{"EXPLAIN ATTACH 'HOSTFILE' AS h", "!not allowed here"},
		{"DETACH s0", "!not allowed here"},
		{"VACUUM INTO 'HOSTFILE'", "!not allowed here"},
		{"VACUUM INTO '/tmp/x.db'", "!not allowed here"},
		{"SELECT readfile('HOSTFILE')", "!no such function: readfile"},
		{"SELECT writefile('/tmp/x', 'x')", "!no such function: writefile"},
		{"SELECT load_extension('HOSTFILE')", "!no such function: load_extension"},
		{"SELECT edit('x', 'vi')", "!no such function: edit"},
		{"SELECT getenv('SALLYPORT_CANARY')", "!no such function: getenv"},
		{"SELECT fts3_tokenizer('simple', x'00')", "!no such function: fts3_tokenizer"},
		{"SELECT fts5(x'00')", "fts5(x'00')\nNULL\n"},
		{"SELECT * FROM fsdir('/')", "!no such table: fsdir"},
		{"SELECT * FROM sqlite_dbpage", "!no such table: sqlite_dbpage"},
		{"SELECT * FROM dbstat", "!no such table: dbstat"},
		{"SELECT * FROM sqlite_stmt", "!no such table: sqlite_stmt"},
		{"CREATE VIRTUAL TABLE v USING csv(filename='HOSTFILE')", "!no such module: csv"},
		{"CREATE VIRTUAL TABLE v USING zipfile('HOSTFILE')", "!no such module: zipfile"},
		{"CREATE VIRTUAL TABLE v USING fts5(a, content='HOSTFILE'); SELECT * FROM v", "!no such table"},
		{"CREATE VIRTUAL TABLE v USING rtree(a, b, c)", "!no such module: rtree"},
		{".read HOSTFILE", "!syntax error"},
		{"PRAGMA temp_store_directory = '/data'", "!not allowed here"},
		{"PRAGMA data_store_directory", "!not allowed here"},
		{"PRAGMA database_list", "!not allowed here"},
		{"SELECT * FROM pragma_database_list", "!not allowed here"},
		{"PRAGMA writable_schema = ON", "!not allowed here"},
		{"PRAGMA trusted_schema = ON", "!not allowed here"},
		{"PRAGMA mmap_size = 1000000000", "!not allowed here"},
		{"PRAGMA journal_mode = DELETE", "!not allowed here"},
		{"PRAGMA hard_heap_limit = 0", "!not allowed here"},
		{"PRAGMA main.s0.max_page_count = 0", "!syntax error"},
		{"DELETE FROM s0.t", "!readonly database"},
		{"DROP TABLE s0.t", "!readonly"},
		{"ALTER TABLE s0.t ADD COLUMN x", "!readonly"},
		{"UPDATE s0.sqlite_schema SET sql = 'x'", "!may not be modified"},
		{"UPDATE sqlite_schema SET sql = 'x'", "!may not be modified"},
	},
}
