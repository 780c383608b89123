"""AMIs: their root volumes, the public parameters that name them, and what an instance takes from them."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.models.instances import InstanceBackend
from moto.ssm.models import Parameter, ssm_backends

from awslabs.sandbox.core.engine import Call, Proceed, memory, rule, state


@dataclass(frozen=True)
class Disk:
    """An AMI's root volume; it goes with the instance. `imds_v2`: its instances want session tokens."""

    size_gib: int
    volume_type: str
    imds_v2: bool = False


# By the AMI's name; the first match counts. Sizes of AL2023 and DLAMI: aws-facts (g); others unsourced.
_DISKS = (
    ("Deep Learning * (*", Disk(75, "gp3", imds_v2=True)),
    ("al2023-ami-ecs-*", Disk(30, "gp3", imds_v2=True)),
    ("al20*-ami-minimal-*", Disk(2, "gp3", imds_v2=True)),
    ("al20*-ami-*", Disk(8, "gp3", imds_v2=True)),
    ("amzn2-ami-ecs-*", Disk(30, "gp2")),
    ("amzn2-ami-minimal-*", Disk(2, "gp2")),
    ("Windows*", Disk(30, "gp2")),
    ("*", Disk(8, "gp2")),
)


def disk_of(image: Any) -> Disk:
    """The root volume that an AMI brings."""
    kept = memory(image, _DiskNote)
    if kept.disk is None:
        kept.disk = _disk_by_name(image.name or "")
    return kept.disk


@functools.lru_cache(4096)  # every account has the same thousand public AMIs
def _disk_by_name(name: str) -> Disk:
    return next(disk for pattern, disk in _DISKS if fnmatch.fnmatchcase(name, pattern))


@state
@dataclass
class _DiskNote:
    disk: Disk | None = None


# --- Deep Learning AMIs -------------------------------------------------------------------------------


@dataclass(frozen=True)
class DeepLearningImage:
    """One Deep Learning AMI: the name of its parameter, its own name, its root device."""

    parameter: str
    name: str
    root_device: str

    def image_id(self, region: str) -> str:
        """An id of the right form, always the same: the practice cloud cannot know the real ones."""
        return "ami-" + hashlib.sha256(f"{region} {self.parameter}".encode()).hexdigest()[:17]

    @property
    def path(self) -> str:
        return f"/aws/service/deeplearning/ami/x86_64/{self.parameter}/latest/ami-id"


DEEP_LEARNING_IMAGES = (
    DeepLearningImage(
        "base-oss-nvidia-driver-gpu-ubuntu-22.04",
        "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) 20260927",
        "/dev/sda1",
    ),
    DeepLearningImage(
        "base-oss-nvidia-driver-gpu-amazon-linux-2023",
        "Deep Learning Base OSS Nvidia Driver GPU AMI (Amazon Linux 2023) 20260927",
        "/dev/xvda",
    ),
    DeepLearningImage(
        "oss-nvidia-driver-gpu-pytorch-2.10-ubuntu-24.04",
        "Deep Learning OSS Nvidia Driver AMI GPU PyTorch 2.10 (Ubuntu 24.04) 20260927",
        "/dev/sda1",
    ),
    DeepLearningImage(
        "oss-nvidia-driver-gpu-pytorch-2.10-amazon-linux-2023",
        "Deep Learning OSS Nvidia Driver AMI GPU PyTorch 2.10 (Amazon Linux 2023) 20260927",
        "/dev/xvda",
    ),
)

deep_learning_images = rule(
    "deep_learning_images",
    """The public parameters of the Deep Learning AMIs resolve, to AMIs that DescribeImages knows.

    moto: ParameterNotFound. Source: aws-facts (g), (j).""",
)


@deep_learning_images.patch(AmiBackend, "_load_amis")
def _load_amis(original: Callable[[Any], None], backend: Any) -> None:
    original(backend)
    for image in DEEP_LEARNING_IMAGES:
        image_id = image.image_id(backend.region_name)
        backend.amis[image_id] = Ami(
            backend,
            image_id,
            name=image.name,
            description=f"{image.name}: a practice copy without content",
            owner_id="898082745236",
            owner_alias="amazon",
            public=True,
            virtualization_type="hvm",
            architecture="x86_64",
            creation_date=datetime(2026, 9, 27, tzinfo=timezone.utc),
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name=image.root_device,
        )


@deep_learning_images.before("ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath")
@deep_learning_images.before("ssm:GetParameterHistory")
def _publish(call: Call) -> None:
    parameters = ssm_backends[call.account][call.region]._parameters
    if dict.__contains__(parameters, DEEP_LEARNING_IMAGES[0].path):  # moto's own loads all it knows
        return
    for image in DEEP_LEARNING_IMAGES:
        parameters[image.path].append(
            Parameter(  # type: ignore[abstract]
                account_id=call.account,
                name=image.path,
                value=image.image_id(call.region),
                parameter_type="String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=datetime(2026, 9, 27, tzinfo=timezone.utc),
                version=1,
                data_type="aws:ec2:image",
            )
        )


# --- volumes ------------------------------------------------------------------------------------------


root_volumes = rule(
    "root_volumes",
    """An AMI shows its own root volume, and an instance gets it: AL2023 8 GiB gp3 at /dev/xvda, encrypted or
    bigger when the request says so; further volumes come on top, and outlive it unless told otherwise.

    moto: every AMI 15 GiB `standard`, every instance 8 GiB gp2 at /dev/sda1; a mapping without a size is
    refused, one of another device leaves the instance without a root volume.
    Source: aws-facts (g), (j); EC2 user guide, terminating-instances (DeleteOnTermination).""",
)


@root_volumes.patch(Ami, "block_device_mappings")
def _block_device_mappings(original: Callable[[Any], Any], image: Any) -> list[dict[str, Any]]:
    disk = disk_of(image)
    ebs = {"SnapshotId": image.ebs_snapshot.id, "VolumeSize": disk.size_gib, "VolumeType": disk.volume_type}
    ebs |= {"DeleteOnTermination": True, "Encrypted": False}
    return [{"DeviceName": image.root_device_name, "Ebs": ebs}]


@root_volumes.patch(AmiBackend, "_load_amis")
def _size_snapshots(original: Callable[[Any], None], backend: Any) -> None:
    original(backend)
    for image in backend.amis.values():
        image.ebs_snapshot.volume.size = disk_of(image).size_gib


@root_volumes.before("ec2:RunInstances")
def _complete(call: Call) -> None:
    """Tell moto everything: it refuses a mapping without a size, and takes what is not said for a no."""
    own = _brought(call.ec2, call.get("ImageId"), call.get("LaunchTemplate"))
    given = [each for each in call.get("BlockDeviceMappings", []) if each.get("Ebs") or "NoDevice" in each]
    if given and own is not None:
        whole = {mapping["DeviceName"]: mapping for mapping in _merged(own, given)}
        names = dict.fromkeys(mapping["DeviceName"] for mapping in given)
        asked = [whole.get(name, {"DeviceName": name, "NoDevice": ""}) for name in names]
        call.change("BlockDeviceMappings", asked)


@root_volumes.patch(InstanceBackend, "run_instances")
def _with_root_volume(original: Any, backend: Any, image_id: str, *args: Any, **kwargs: Any) -> Any:
    own = _brought(backend, image_id, kwargs.get("launch_template"))
    if own is not None:
        kwargs["block_device_mappings"] = _merged(own, kwargs.get("block_device_mappings") or [])
    return original(backend, image_id, *args, **kwargs)


def _brought(backend: Any, image_id: str, template: Any) -> list[dict[str, Any]] | None:
    """The volumes of an AMI, as a launch template changes them; None: there is no such AMI."""
    version = backend._get_template_from_args(template) if template else None
    image = _image(backend, image_id, template)
    if image is None:
        return None
    return _merged(
        image.block_device_mappings, version.data.get("BlockDeviceMappings", []) if version else []
    )


def _image(backend: Any, image_id: str, template: Any) -> Any:
    """The AMI of a launch; None: there is no such one."""
    if not image_id and template:
        image_id = backend._get_template_from_args(template).image_id
    return backend.amis.get(image_id)


def _merged(own: list[dict[str, Any]], given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The volumes of an AMI, changed and extended by those of a request, in the form that moto wants."""
    volumes = {mapping["DeviceName"]: dict(mapping["Ebs"]) for mapping in own}
    for mapping in given:
        device = mapping["DeviceName"]
        if mapping.get("NoDevice") is not None:
            volumes.pop(device, None)
        if mapping.get("NoDevice") is not None or not mapping.get("Ebs"):
            continue
        asked = {name: value for name, value in mapping["Ebs"].items() if value is not None}
        default = {"VolumeType": "gp2", "DeleteOnTermination": False}
        volumes[device] = default | volumes.get(device, {}) | asked
    return [{"DeviceName": device, "Ebs": ebs} for device, ebs in volumes.items()]


metadata_options = rule(
    "metadata_options",
    """An instance of an AL2023 AMI answers metadata requests with a session token only (IMDSv2), over 2 hops.

    moto: HttpTokens optional, one hop. A request's own MetadataOptions win; DescribeImages shows ImdsSupport
    v2.0. Source: aws-facts (g), (j); EC2 user guide, AMI-IMDS.""",
)


@metadata_options.around("ec2:DescribeImages")
def _show_support(call: Call, proceed: Proceed) -> Any:
    answer = proceed()
    for image in answer.result["Images"]:
        image.imds_support = "v2.0" if disk_of(image).imds_v2 else None
    return answer


@metadata_options.patch(InstanceBackend, "run_instances")
def _with_tokens(original: Any, backend: Any, image_id: str, *args: Any, **kwargs: Any) -> Any:
    image = _image(backend, image_id, kwargs.get("launch_template"))
    if image is not None and disk_of(image).imds_v2:
        asked = kwargs.get("metadata_options") or {}
        kwargs["metadata_options"] = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2} | asked
    return original(backend, image_id, *args, **kwargs)
