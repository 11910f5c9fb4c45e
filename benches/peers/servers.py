"""The servers that are compared: how each is got, started on a core, and ended.

Not here: what is asked of them. A server is a fresh process for each run, and is waited for until
it listens; `pid` is the process that does the work.
"""

import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FANFARE = ROOT / "target/release/fanfare"
RUST = HERE / "rust"
CONNECTIONS_MAX = 16_000
START_SECONDS_MAX = 20


class Unfit(Exception):
    """Why a server or a measurement could not be had, in words for the person at the terminal."""


class Server:
    """A program that says `listening on ADDRESS:PORT` once it does; running inside a `with`."""

    def __init__(self, name, command, version):
        self.name = name
        self.command = [str(word) for word in command]
        self.version = version
        self.child = None
        self.pid = None
        self.address = None

    def on(self, core):
        """The core that the next process runs on."""
        self.core = core
        return self

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.child:
            self.child.terminate()
            try:
                self.child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
            self.child.stdout.close()
        self.child = self.pid = self.address = None

    def spawn(self, command):
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {self.core}),
            text=True,
        )
        self.pid = self.child.pid

    def start(self):
        self.spawn(self.command)
        said = self.child.stdout.readline().strip()
        if not said.startswith("listening on "):
            raise Unfit(f"{self.name} said {said!r} instead of where it listens")
        self.address = said.removeprefix("listening on ")


class Nginx(Server):
    """nginx with nchan: it says nothing, wants a file, and has a worker that does the work."""

    def start(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory(prefix="fanfare-nchan-")
        os.chmod(self.folder.name, 0o755)
        text = (HERE / "nchan/nginx.conf").read_text()
        fill = {"@MODULE@": nchan_module(), "@FOLDER@": self.folder.name, "@PORT@": port}
        for mark, value in fill.items():
            text = text.replace(mark, str(value))
        conf = Path(self.folder.name) / "nginx.conf"
        conf.write_text(text)
        log = Path(self.folder.name) / "error.log"
        self.spawn([*self.command, "-e", str(log), "-c", str(conf)])
        self.pid = self.worker(log)
        self.address = f"127.0.0.1:{port}"

    def worker(self, log):
        """The one child of the master, once the port is answered."""
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children")
        deadline = time.monotonic() + START_SECONDS_MAX
        while self.child.poll() is None and time.monotonic() < deadline:
            pids = children.read_text().split()
            if len(pids) == 1:
                return int(pids[0])
            time.sleep(0.01)
        raise Unfit(f"nginx did not start: {log.read_text().strip() if log.exists() else ''}")

    def __exit__(self, *_):
        super().__exit__()
        self.folder.cleanup()


def floor(join):
    """The bare loop that everything is compared with."""
    line = [FANFARE, "bench", "floor", "--listen", "127.0.0.1:0", "--kind", "fanout"]
    return Server("floor", [*line, "--join", join], "")


def broker():
    """Fanfare as it is served, on one loop."""
    line = [FANFARE, "serve", "--listen", "127.0.0.1:0", "--loops", 1]
    line += ["--connections-max", CONNECTIONS_MAX]
    return Server("Fanfare", line, said([FANFARE, "--version"]).removeprefix("fanfare "))


def peers(wanted):
    """Installs, builds and returns the peers of these names; raises `Unfit` where one can't be."""
    made = []
    if "ws" in wanted:
        node = need("node", "nodejs", "node 18 or newer")
        need("npm", "npm", "npm")
        run(["npm", "ci", "--no-audit", "--no-fund", "--prefix", HERE / "node"])
        version = f"{locked_npm('ws')}, Node {said([node, '--version']).removeprefix('v')}"
        made.append(Server("ws", [node, HERE / "node/server.mjs", "127.0.0.1:0"], version))
    crates = [crate for crate in CRATES if crate in wanted]
    if crates:
        run(["cargo", "build", "--release", "--locked", "--manifest-path", RUST / "Cargo.toml"])
    for crate in crates:
        binary = RUST / "target/release" / crate
        made.append(Server(crate, [binary, "127.0.0.1:0"], locked_crate(crate)))
    if "nchan" in wanted:
        made.append(nchan())
    return made


CRATES = ["tokio-tungstenite", "fastwebsockets", "sockudo-ws"]
NAMES = ["ws", *CRATES, "nchan"]


def nchan():
    had_nginx = shutil.which("nginx", path=PATH) is not None
    if not had_nginx or not nchan_module().exists():
        apt("nginx", "libnginx-mod-nchan")
        # Debian starts what it installs; a server on port 80 is not what was asked for.
        if not had_nginx and shutil.which("systemctl"):
            subprocess.run(["systemctl", "disable", "--now", "nginx"], check=False)
    nginx = need("nginx", "nginx", "nginx")
    if not nchan_module().exists():
        raise Unfit("missing: nchan (Debian: libnginx-mod-nchan), or leave it out: --skip nchan")
    package = said(["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"])
    nginx_version = re.search(r"nginx/(\S+)", said([nginx, "-v"]))
    version = f"{package or 'unknown'}, nginx {nginx_version[1] if nginx_version else 'unknown'}"
    return Nginx("nchan", [nginx], version)


def nchan_module():
    """Where nginx looks for modules, by its own account."""
    nginx = shutil.which("nginx", path=PATH)
    folder = re.search(r"--modules-path=(\S+)", said([nginx, "-V"]) if nginx else "")
    return Path(folder[1] if folder else "/usr/lib/nginx/modules") / "ngx_nchan_module.so"


def build_broker():
    """Builds the broker, the floor and the client: one binary."""
    need("cargo", "cargo", "cargo, from Rust 1.95 or newer")
    run(["cargo", "build", "--release", "--locked", "--manifest-path", ROOT / "Cargo.toml"])


def raise_descriptor_limit():
    """For this process and all that it starts."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# Daemons are not in everybody's path.
PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin"


def need(program, package, what):
    """The path of `program`, which Debian has in `package`."""
    if not shutil.which(program, path=PATH):
        apt(package)
    found = shutil.which(program, path=PATH)
    if not found:
        raise Unfit(f"missing: {what} (Debian: {package})")
    return found


def apt(*packages):
    """Installs packages where we may; who needs them looks whether they are there."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages]
        for command in [["apt-get", "update", "-qq"], install]:
            subprocess.run(command, env=environment, check=False)


def run(command):
    """Runs a step of the installation, whose output is shown."""
    command = [str(word) for word in command]
    if subprocess.run(command, check=False).returncode:
        raise Unfit(f"`{' '.join(command)}` failed")


def said(command):
    """What a program says, on either stream; nothing where there is no such program."""
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return f"{told.stdout}{told.stderr}".strip()


def locked_npm(package):
    text = (HERE / "node/package-lock.json").read_text()
    return re.search(rf'"node_modules/{package}": {{\s*"version": "([^"]+)"', text)[1]


def locked_crate(crate):
    text = (RUST / "Cargo.lock").read_text()
    return re.search(rf'name = "{crate}"\nversion = "([^"]+)"', text)[1]
