"""DICOM as hospitals export it: files in any nesting become images or volumes, by patient, with notes on the rest."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from autossl.data.readers import dicom_seg, disk, series
from autossl.data.readers.columns import Wanted
from autossl.data.readers.dicom_labels import Told, key_of, told_by
from autossl.data.readers.dicom_seg import Drawn
from autossl.data.readers.files import MOST_LOOKED_AT, is_image
from autossl.data.readers.found import Found
from autossl.data.readers.images import Unreadable
from autossl.data.readers.instances import Instance, Plane, look, of_picture
from autossl.data.readers.series import FEWEST, Row, Sorted
from autossl.data.readers.tables import IMAGE, has_column, read_table
from autossl.data.readers.tables import SUFFIXES as TABLES
from autossl.data.readers.volume_files import is_volume
from autossl.errors import UserError
from autossl.errors.printable import plural, shown

SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
FEW, FEWEST_BROKEN = 0.05, 2  # share and number of broken files up to which they are set aside
CAPTURED = "secondary capture beside images of its study"
MOST_KINDS = 8  # that a note lists
Placed = tuple[Instance, int]  # a frame of a file


class Group(NamedTuple):
    """Frames of one series, size and orientation."""

    frames: list[Placed]
    sorted: Sorted | None  # None where they do not lie in the patient

    @property
    def is_volume(self) -> bool:
        return self.sorted is not None and len(self.sorted.order) >= FEWEST and self.sorted.step > 0


def is_dicom_file(path: Path) -> bool:
    """Whether a file is DICOM by its content, or where that is silent by its name."""
    return path.suffix.lower() in SUFFIXES or disk.is_dicom(path)


def holds_dicom(root: Path) -> bool:
    """Whether a folder holds DICOM; UserError where it holds volumes of another form too."""
    there = disk.files(root)
    pictures = [path for path in there if is_image(path)]
    others = [path for path in there if not is_image(path) and path.suffix.lower() not in TABLES]
    found = any(map(is_dicom_file, (*others, *pictures[:MOST_LOOKED_AT])))
    if found and (volumes := [path for path in pictures if is_volume(path) and not disk.is_dicom(path)]):
        raise UserError(
            f"DICOM or volumes of another form were wanted, found {plural(len(volumes), 'volume')} of another form "
            f"beside DICOM in {root}; move one of the two away"
        )
    return found


def read_dicom(root: Path, table: Path | None, wanted: Wanted, dims: int | None = None) -> Found:
    """All DICOM and other images below a folder. `dims` 2: frames are images, 3: series volumes, None: as most are."""
    files = [path for path in disk.files(root) if is_image(path) or is_dicom_file(path)]
    return read_dicom_files(files, root, str(root), table, wanted, dims)


def read_dicom_files(
    files: Sequence[Path], root: Path, place: str, table: Path | None, wanted: Wanted, dims: int | None = None
) -> Found:
    """These DICOM files, as `read_dicom` has it."""
    told = told_by(root, table, wanted)
    instances, drawn, notes = _images(files, told, place)
    instances = _without_captures(instances, notes)
    groups = _groups(instances, told.by_file)
    known = [group for group in groups if any(told.row_of(each) >= 0 for each, _ in group.frames)]
    rows, owners = _rows(groups, dims or _dims(known or groups), notes)
    if not rows:
        raise UserError(
            f"images or volumes in DICOM were wanted, found none among {plural(len(files), 'file')} in {place}"
            f"{': ' if notes else ''}{'; '.join(notes)}; give the folder that holds the images"
        )
    patients = [each.patient for each in owners]
    found = dicom_seg.segments(drawn, rows, owners, instances, wanted.structures) if drawn else None
    if found is None:
        labels, patients, said = told.columns(owners, patients)
    else:
        labels, said = {"mask": found.names}, [f"{plural(len(drawn), 'file')} of segments, by the codes of these"]
    modalities = Counter(each.modality for each in owners)
    named = ", ".join(f"{shown(name) or 'none'} {count}" for name, count in modalities.most_common(MOST_KINDS))
    about = f"DICOM: {plural(len(files), 'file')}, {plural(len(groups), 'stack')} of frames, modality {named}"
    if pictures := sum(each.picture for each in owners):
        said = [*said, f"{plural(pictures, 'image')} of another form beside DICOM, each of a patient of its own"]
    return Found(
        root.resolve().name,
        place,
        files=[row.frames[0][0] for row in rows],
        labels=labels,
        patients=patients,
        slices=_slices(rows, owners),
        split=told.split(owners),
        class_folders=told.class_folders,
        root=root,
        rows=tuple(rows),
        segments=found,
        structures={} if found is None else {number: name for name, number in found.numbers.items()},
        modality=next(iter(modalities)) if len(modalities) == 1 else "",
        notes=(about, *notes, *said),
    )


def read_dicom_table(table: Path, root: Path, wanted: Wanted, dims: int | None = None) -> Found | None:
    """The DICOM that a CSV tells of, below this folder; None where it names images of another form."""
    if not disk.is_file(table) or not has_column(table, key_of):
        return None
    images = read_table(table, key=key_of).get(IMAGE)
    if images is None:
        return read_dicom(root, table, wanted, dims)
    disk.refuse_escapes(root, images, table)
    paths = [root / image for image in images]
    there = [
        path for path in paths[:MOST_LOOKED_AT] if disk.is_folder(path) or (disk.is_file(path) and is_dicom_file(path))
    ]
    if not there:
        return None
    files = [file for path in paths for file in (disk.files(path) if disk.is_folder(path) else [path])]
    known = [file for file in dict.fromkeys(files) if disk.is_file(file) and (is_image(file) or is_dicom_file(file))]
    return read_dicom_files(known, root, str(table), table, wanted, dims)


def _images(files: Sequence[Path], told: Told, place: str) -> tuple[list[Instance], list[Drawn], list[str]]:
    """The images among files, what was drawn on them where that is wanted, and notes on what is none or broken.

    UserError where many are broken.
    """

    def try_look(path: Path) -> Instance | Drawn | str:
        try:
            if is_image(path) and not disk.is_dicom(path):
                return of_picture(path, told.attributes)
            found = look(path, told.attributes)
            return dicom_seg.look(path) if found.aside in dicom_seg.KINDS and told.drawn else found
        except Unreadable as fault:
            return str(fault)

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(try_look, files))
    broken = [each for each in found if isinstance(each, str)]
    if len(broken) > max(FEWEST_BROKEN, int(FEW * len(files))) or len(broken) == len(files):
        raise UserError(
            f"readable DICOM was wanted, found {len(broken)} of {plural(len(files), 'file')} that cannot be read in "
            f"{place} (the first: {broken[0] if broken else 'there is none'}); copy them again or leave them out"
        )
    notes = [f"{plural(len(broken), 'DICOM file')} cannot be read and {_are(len(broken))} set aside"] if broken else []
    instances = [each for each in found if isinstance(each, Instance)]
    kinds = Counter(each.aside for each in instances if each.aside)
    if kinds:
        listed = ", ".join(f"{shown(kind)} {count}" for kind, count in kinds.most_common(MOST_KINDS))
        notes.append(
            f"{plural(sum(kinds.values()), 'file')} that {_are(sum(kinds.values()))} no image set aside: {listed}"
        )
    return [each for each in instances if not each.aside], [each for each in found if isinstance(each, Drawn)], notes


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _without_captures(instances: list[Instance], notes: list[str]) -> list[Instance]:
    """Pictures of screens (dose, 3-D renderings) are left out where their study holds images of a device."""
    real = {each.keys["StudyInstanceUID"] for each in instances if not each.capture}
    kept = [each for each in instances if not each.capture or each.keys["StudyInstanceUID"] not in real]
    if count := len(instances) - len(kept):
        notes.append(f"{plural(count, 'file')} set aside: {CAPTURED}")
    return kept


def _groups(instances: Sequence[Instance], by_file: bool) -> list[Group]:
    """Frames by series (or file), size and orientation, in the order of files."""
    series_of: dict[tuple[object, ...], list[list[Placed]]] = {}
    for each in sorted(instances, key=lambda each: each.number):  # of two at one place the first that was made
        own = (str(each.path),) if by_file else (each.keys["SeriesInstanceUID"] or str(each.path.parent), each.patient)
        key = (*own, each.header.size, each.header.channels, each.planes[0] is None)
        for frame, plane in enumerate(each.planes):
            parts = series_of.setdefault(key, [])
            for part in parts:
                if _alike(plane, part[0][0].planes[part[0][1]]):
                    part.append((each, frame))
                    break
            else:
                parts.append([(each, frame)])
    found = [Group(part, _sorted(part)) for parts in series_of.values() for part in parts]
    return sorted(found, key=lambda group: str(group.frames[0][0].path))


def _alike(plane: Plane | None, other: Plane | None) -> bool:
    if plane is None or other is None:
        return plane is other
    return series.parallel(plane, other)


def _sorted(part: list[Placed]) -> Sorted | None:
    planes = [plane for each, frame in part if (plane := each.planes[frame]) is not None]
    return series.sort(planes) if planes else None


def _dims(groups: Sequence[Group]) -> int:
    """3 where more than half of the stacks are volumes."""
    return 3 if 2 * sum(group.is_volume for group in groups) > len(groups) else 2


def _rows(groups: list[Group], dims: int, notes: list[str]) -> tuple[list[Row], list[Instance]]:
    """Samples, and the file that tells of whom each is."""
    if dims == 2:
        frames = [placed for group in groups for placed in _in_order(group)]
        return [_image(*placed) for placed in frames], [each for each, _ in frames]
    volumes = [group for group in groups if group.is_volume]
    loose = sum(len(group.frames) for group in groups if not group.is_volume)
    sorts = [group.sorted for group in volumes if group.sorted is not None]
    notes.append(
        f"series of {FEWEST} or more parallel slices are volumes, sorted by position, turned to the body's axes"
    )
    if loose:
        notes.append(f"{plural(loose, 'image')} in smaller series set aside")
    if repeated := sum(found.repeated for found in sorts):
        stacks = sum(found.repeated > 0 for found in sorts)
        notes.append(f"{plural(repeated, 'slice')} of {plural(stacks, 'volume')} at a place that has one set aside")
    if gaps := sum(found.gaps > 0 for found in sorts):
        notes.append(f"{plural(gaps, 'volume')} with gaps between slices, taken as they are")
    mixed = Counter(group.frames[0][0].keys["SeriesInstanceUID"] for group in volumes)
    if several := sum(count > 1 for count in mixed.values()):
        notes.append(f"{plural(several, 'series').removesuffix('s') + 's'} with several orientations, each a volume")
    rows = [series.volume(group.frames, group.sorted) for group in volumes if group.sorted is not None]
    return rows, [group.frames[0][0] for group in volumes]


def _in_order(group: Group) -> list[Placed]:
    """The frames along their normal, where they lie in the patient; none is left out."""

    def where(placed: Placed) -> float:
        plane = placed[0].planes[placed[1]]
        return 0.0 if plane is None else series.position(plane)

    return sorted(group.frames, key=where)


def _image(each: Instance, frame: int) -> Row:
    plane = each.planes[frame]
    where = None if plane is None else series.position(plane)
    return Row(((each.path, frame),), each.header, where, picture=each.picture)


def _slices(rows: list[Row], owners: list[Instance]) -> list[str] | None:
    """Where images lie along the normal, for patients with one series: several need not have one direction."""
    own: dict[str, set[str]] = {}
    for each in owners:
        own.setdefault(each.patient, set()).add(each.keys["SeriesInstanceUID"])
    found = [
        f"{row.position:.3f}" if row.position is not None and each.patient and len(own[each.patient]) == 1 else ""
        for row, each in zip(rows, owners, strict=True)
    ]
    return found if any(found) else None
