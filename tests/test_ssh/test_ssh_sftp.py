"""Files: SFTP and scp see what the shell sees, and no more."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path

import paramiko
import pytest
from hosts_kit import Instance, on_both

from awslabs.sandbox.ssh.hosts import Hosts

pytestmark = pytest.mark.live


def scp(instance: Instance, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run OpenSSH's scp; the instance is called HOST in the arguments."""
    there = [argument.replace("HOST:", "ec2-user@127.0.0.1:") for argument in arguments]
    line = ["scp", *instance.options(), "-P", str(instance.port), *there]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


def sftp(instance: Instance, *commands: str) -> subprocess.CompletedProcess[str]:
    """Run OpenSSH's sftp with a batch of commands."""
    line = ["sftp", *instance.options(), "-P", str(instance.port), "-b", "-", "ec2-user@127.0.0.1"]
    return subprocess.run(line, input="\n".join(commands), capture_output=True, text=True, timeout=120)


@on_both
@pytest.mark.parametrize("name", ["x.txt", "./x.txt", "/home/ec2-user/x.txt", "~/x.txt"])
def test_a_file_put_by_any_of_its_names_is_the_shells(
    hosts: Hosts, instance: Instance, tmp_path: Path, name: str
) -> None:
    (tmp_path / "here.txt").write_text("hello")
    done = scp(instance, str(tmp_path / "here.txt"), f"HOST:{name}")
    assert done.returncode == 0, done.stderr
    assert instance.output("cat x.txt ~/x.txt") == "hellohello"
    assert (instance.folder / "home/ec2-user/x.txt").read_text() == "hello"
    assert scp(instance, f"HOST:{name}", str(tmp_path / "back.txt")).returncode == 0
    assert (tmp_path / "back.txt").read_text() == "hello"


@on_both
@pytest.mark.parametrize("protocol", ["-s", "-O"])
def test_scp_copies_a_folder_with_times_and_modes(
    hosts: Hosts, instance: Instance, tmp_path: Path, protocol: str
) -> None:
    if protocol == "-O" and instance.output("id -un 2>/dev/null || true").strip().isdigit():
        pytest.skip("the old scp wants a user with a name: run the tests as an ordinary user to see this")
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    data = os.urandom(5_000_000)
    (folder / "deep" / "data.bin").write_bytes(data)
    (folder / "run me.sh").write_text("#!/bin/sh\n")
    (folder / "run me.sh").chmod(0o755)
    os.utime(folder / "run me.sh", (1_600_000_000, 1_600_000_000))
    there = scp(instance, protocol, "-rp", str(folder), "HOST:copy")
    assert there.returncode == 0, there.stderr
    assert instance.output("sha256sum < copy/deep/data.bin").split()[0] == hashlib.sha256(data).hexdigest()
    back = scp(instance, protocol, "-rp", "HOST:copy", str(tmp_path / "back"))
    assert back.returncode == 0, back.stderr
    returned = (tmp_path / "back" / "run me.sh").stat()
    assert (stat.S_IMODE(returned.st_mode), returned.st_mtime) == (0o755, 1_600_000_000)
    assert (tmp_path / "back/deep/data.bin").read_bytes() == data
    assert (tmp_path / "back/deep/er").is_dir()


@on_both
def test_openssh_sftp_does_its_whole_repertoire(hosts: Hosts, instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc")
    instance.output("printf a > part")
    done = sftp(
        instance,
        "pwd",
        "mkdir d",
        f"put {tmp_path / 'a'} d/a",
        "rename d/a d/b",
        "symlink b d/link",
        "ln d/b d/hard",
        "chmod 640 d/b",
        "ls -l d",
        f"get d/link {tmp_path / 'b'}",
        f"reput {tmp_path / 'a'} part",
        "df",
        "rm d/link",
        "rm d/hard",
        "rm d/b",
        "rmdir d",
        "ls -a",
    )
    assert done.returncode == 0, done
    assert "Remote working directory: /home/ec2-user" in done.stdout
    assert "-rw-r-----" in done.stdout
    assert (tmp_path / "b").read_text() == "abc"
    assert instance.output("ls; cat part") == "part\nabc"


@on_both
def test_paramiko_reads_and_writes_anywhere_in_a_file(instance: Instance) -> None:
    with instance.paramiko() as client, client.open_sftp() as files:
        with files.open("numbers", "w+b") as file:
            file.write(b"0123456789" * 100_000)
            file.seek(999_990)
            assert file.read(100) == b"0123456789"
            file.seek(5)
            file.write(b"X")
            file.truncate(12)
        assert files.stat("numbers").st_size == 12
        assert instance.output("cat numbers") == "01234X678901"
        with files.open("numbers", "ab") as file:
            file.write(b"!")
        assert instance.output("tail -c 3 numbers") == "01!"
        with pytest.raises(OSError, match="File exists"):
            files.open("numbers", "x")
        files.utime("numbers", (1_500_000_000, 1_500_000_001))
        assert int(files.stat("numbers").st_mtime) == 1_500_000_001
        assert files.normalize(".") == "/home/ec2-user"
        files.symlink("numbers", "link")
        assert files.readlink("link") == "numbers"
        assert stat.S_ISLNK(files.lstat("link").st_mode)
        assert stat.S_ISREG(files.stat("link").st_mode)
        with pytest.raises(OSError, match="exists"):
            files.rename("link", "numbers")
        files.posix_rename("link", "numbers")


@on_both
def test_a_folder_of_many_files_is_listed_whole(instance: Instance) -> None:
    instance.output("mkdir many; cd many; touch $(seq 1 350); touch 'näme ü'")
    with instance.paramiko() as client, client.open_sftp() as files:
        assert set(files.listdir("many")) == {*map(str, range(1, 351)), "näme ü"}
        assert files.listdir_attr("many")[0].longname.startswith("-rw-r--r--")


@on_both
def test_errors_have_the_codes_that_clients_know(hosts: Hosts, instance: Instance) -> None:
    with instance.paramiko() as client, client.open_sftp() as files:
        with pytest.raises(FileNotFoundError):
            files.stat("nothing")
        with pytest.raises(FileNotFoundError):
            files.open("nothing/x", "w")
        with pytest.raises(PermissionError):
            files.open("/etc/shadow", "r")
        instance.output("mkdir -p full/of/it")
        with pytest.raises(OSError, match="(?i)not empty"):
            files.rmdir("full")
        files.mkdir("still-here")


@on_both
def test_a_broken_packet_does_not_end_the_server(hosts: Hosts, instance: Instance) -> None:
    with instance.paramiko() as client:
        channel = client.get_transport().open_session()
        channel.invoke_subsystem("sftp")

        def ask(body: bytes) -> bytes:
            channel.sendall(len(body).to_bytes(4, "big") + body)
            length = int.from_bytes(receive(4), "big")
            return receive(length)

        def receive(count: int) -> bytes:
            data = b""
            while len(data) < count:
                data += channel.recv(count - len(data))
            return data

        assert ask(b"\x01\x00\x00\x00\x03")[:5] == b"\x02\x00\x00\x00\x03"
        for body, code in (
            (b"\x11\x00\x00\x00\x07\x00\x00\xff\xffshort", 5),  # STAT with a string cut short
            (b"\x04\x00\x00\x00\x07\x00\x00\x00\x01?", 4),  # CLOSE of no handle
            (b"\x63\x00\x00\x00\x07", 8),  # no such request
            (b"\xc8\x00\x00\x00\x07\x00\x00\x00\x03abc", 8),  # no such extension
        ):
            reply = ask(body)
            assert reply[:9] == b"\x65\x00\x00\x00\x07" + code.to_bytes(4, "big"), (body, reply)


def test_sftp_sees_the_instance_as_the_shell_does(instance: Instance, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the student's own")
    secret.chmod(0o644)
    instance.output(f"ln -s {secret} escape; ln -s /etc/hostname name; echo hi > /tmp/there")
    with instance.paramiko() as client, client.open_sftp() as files:
        for path in (str(secret), "escape", str(Path.home())):
            with pytest.raises(FileNotFoundError):
                files.stat(path)
        assert files.open("name").read() == b"ip-10-10-0-5\n"
        assert files.open("/tmp/there").read() == b"hi\n"
        for path in ("/etc/mine", "/usr/bin/mine", "/etc/hostname/x"):
            with pytest.raises(OSError):
                files.open(path, "w")


@pytest.mark.parametrize("hosts", ["plain"], indirect=True)
def test_without_namespaces_nothing_outside_the_home_is_served(
    hosts: Hosts, instance: Instance, tmp_path: Path
) -> None:
    inside = instance.folder.resolve() / "home/ec2-user"
    outside = inside.parent / "secret"  # in reach of the user, so only the server's own check refuses it
    outside.mkdir()
    (outside / "file").write_text("x")
    outside.chmod(0o777)
    instance.output(f"ln -s {outside} out; ln -s {outside}/file outfile; ln -s . here; echo in > file")
    with instance.paramiko() as client, client.open_sftp() as files:
        refused = [
            str(outside / "file"),
            "../secret/file",
            "out/file",
            "outfile",
            "/etc/passwd",
            "/",
            "here/../..",
        ]
        for path in [*refused, f"{inside}-not/file", "/home/ec2-user/../x"]:
            with pytest.raises(PermissionError):
                files.open(path)
        with pytest.raises(PermissionError):
            files.open("out/new", "w")
        with pytest.raises(PermissionError):
            files.rename("file", "out/file")
        with pytest.raises(PermissionError):
            files.listdir("out")
        with pytest.raises(PermissionError):
            files.chmod("outfile", 0o777)
        assert files.open("here/file").read() == b"in\n"
        assert files.open(f"{inside}/file").read() == b"in\n"
        files.remove("out")  # the link itself is ours
        with pytest.raises(PermissionError) as refused_by:
            files.stat("/etc")
        assert "home directory only" in str(refused_by.value)
    assert list(outside.iterdir()) == [outside / "file"]


def test_sftp_is_the_only_subsystem(instance: Instance) -> None:
    with instance.paramiko() as client, pytest.raises(paramiko.SSHException):
        client.get_transport().open_session().invoke_subsystem("netconf")
