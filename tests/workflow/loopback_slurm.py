"""A SLURM of one machine, bound to the loopback interface alone: controller, node and munge from Debian's packages."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

CONFIG = Path("/etc/slurm")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
LINES = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MinJobAge=3600
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
GRES = "NodeName={host} Name=gpu File=/dev/null\n"


def missing():
    """Say why it cannot be had here, or None."""
    if getpass.getuser() != "root" or os.geteuid() != 0:
        return "needs root, to write /etc/slurm"
    absent = [name for name in PROGRAMS if find(name) is None]
    if absent:
        return f"no {', '.join(absent)}: install slurm-wlm and munge"
    if (CONFIG / "slurm.conf").exists():
        return f"{CONFIG}/slurm.conf exists: this machine has a SLURM of its own"
    return None


def find(name):
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Loopback:
    """Started on entry; on exit jobs are cancelled, daemons stopped and what was written to /etc removed."""

    def __init__(self, folder):
        self.folder, self.daemons, self.host = Path(folder), [], socket.gethostname().split(".")[0]

    def __enter__(self):
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 512
        values = {"host": self.host, "folder": self.folder, "cpus": os.cpu_count(), "memory": memory}
        CONFIG.mkdir(exist_ok=True)
        (CONFIG / "slurm.conf").write_text(LINES.format(**values))
        (CONFIG / "gres.conf").write_text(GRES.format(**values))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        key, socket_file = self.folder / "munge.key", self.folder / "munge.socket"
        munge = ["--foreground", f"--socket={socket_file}", f"--key-file={key}", "--num-threads=2", "--force"]
        munge += [f"--log-file={self.folder}/munge.log", f"--pid-file={self.folder}/munge.pid"]
        munge += [f"--seed-file={self.folder}/munge.seed"]
        self._daemon("munged", *munge)
        self._until(lambda: socket_file.exists(), "munge's socket")
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D", "-N", self.host)
        self._until(lambda: "idle" in self.say("sinfo", "--noheader", "--format=%T"), "an idle node")

    def _daemon(self, name, *arguments):
        log = (self.folder / f"{name}.out").open("wb")
        self.daemons.append(subprocess.Popen([find(name), *arguments], stdout=log, stderr=subprocess.STDOUT))

    def _until(self, done, what, seconds=60):
        deadline = time.monotonic() + seconds
        while not done():
            for daemon in self.daemons:
                assert daemon.poll() is None, f"{daemon.args[0]} ended:\n{self.logs()}"
            assert time.monotonic() < deadline, f"no {what} in {seconds} s:\n{self.logs()}"
            time.sleep(0.2)

    def say(self, name, *arguments):
        """Output of one of SLURM's commands."""
        done = subprocess.run([find(name), *arguments], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def logs(self):
        """The ends of the daemons' logs."""
        return "\n".join(f"{path}:\n{path.read_text(errors='replace')[-2000:]}" for path in self.folder.glob("*.out"))

    def __exit__(self, *exception):
        if len(self.daemons) == 3:
            self.say("scancel", "--user", "root")
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for name in ("slurm.conf", "gres.conf"):
            (CONFIG / name).unlink(missing_ok=True)
