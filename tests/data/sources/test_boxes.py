import hashlib

import pytest

from kedro_dcgan.datasets import ImageSourceDataset
from kedro_dcgan.errors import SourceError

OURS, CELEBA = "path,left,top,width,height", "image_id,x_1,y_1,width,height"


def read(folder, *lines, encoding="utf-8", end="\n"):
    (folder / "boxes.csv").write_bytes(end.join([*lines, ""]).encode(encoding))
    return ImageSourceDataset(folder).load().boxes("boxes.csv")


def refused(folder, *lines, **options):
    with pytest.raises(SourceError) as caught:
        read(folder, *lines, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("`preprocessing.crop.boxes`")
    assert "path, left, top, width, height" in message
    assert f"(got {folder / 'boxes.csv'}: " in message
    return message


@pytest.mark.parametrize("columns", [OURS, CELEBA])
def test_boxes_become_regions(tmp_path, columns):
    boxes = read(tmp_path, columns, "a.jpg,1,2,30,40", "b/c.jpg,-5,0,7,8.6")
    assert boxes.find(("a.jpg", "b/c.jpg")) == {"a.jpg": (1, 2, 31, 42), "b/c.jpg": (-5, 0, 2, 9)}


def test_boxes_may_have_other_columns_and_a_byte_order_mark(tmp_path):
    lines = "height, width ,note,top,left,path", '4,3,"a, b",2,1,a.jpg'
    assert read(tmp_path, *lines, encoding="utf-8-sig", end="\r\n").find(("a.jpg",)) == {"a.jpg": (1, 2, 4, 6)}


def test_boxes_are_found_by_the_relative_path(tmp_path):
    boxes = read(tmp_path, OURS, "x.jpg,0,0,1,1", "a/x.jpg,0,0,2,2", "c/y.jpg,0,0,3,3")
    paths = "x.jpg", "a/x.jpg", "b/x.jpg", "y.jpg", "d/c/y.jpg", "xx.jpg"
    assert boxes.find(paths) == {"x.jpg": (0, 0, 1, 1), "a/x.jpg": (0, 0, 2, 2)}


@pytest.mark.parametrize("folder", ["", "img_align_celeba/", "img_align_celeba/img_align_celeba/"])
def test_celeba_boxes_are_found_by_name_in_one_folder(tmp_path, folder):
    boxes = read(tmp_path, CELEBA, "000001.jpg,0,0,1,1", "000002.jpg,0,0,2,2")
    assert boxes.find(("other/readme.txt", f"{folder}000001.jpg")) == {f"{folder}000001.jpg": (0, 0, 1, 1)}
    assert boxes.find((f"{folder}000002.jpg", "other/3.jpg")) == {f"{folder}000002.jpg": (0, 0, 2, 2)}


@pytest.mark.parametrize("path", ["img_celeba/000001.jpg", "img_celeba/000002.jpg", "000002.jpg", "a/b/000002.jpg"])
def test_celeba_boxes_for_two_folders_are_rejected(tmp_path, path):
    boxes = read(tmp_path, CELEBA, "000001.jpg,0,0,1,1", "000002.jpg,0,0,2,2")
    assert boxes.find(("a/000001.jpg",))
    folder, _, name = path.rpartition("/")
    with pytest.raises(
        SourceError, match=rf"^`[^\n]*\(got `image_id` {name}, for the folders `a` and `{folder}`\)[^\n]*$"
    ):
        boxes.find((path,))


@pytest.mark.parametrize("columns", [OURS, CELEBA])
@pytest.mark.parametrize("again", ["a.jpg,5,6,7,8", "a.jpg,1,2,3,4"])
def test_two_boxes_for_one_image_are_rejected(tmp_path, columns, again):
    assert "line 4 is a second box for a.jpg" in refused(tmp_path, columns, "a.jpg,1,2,3,4", "b.jpg,1,2,3,4", again)


@pytest.mark.parametrize("name", ["~no_such_user/boxes.csv", "a\0b", "x" * 5000])
def test_file_name_that_cannot_be_a_path_is_rejected(tmp_path, name):
    with pytest.raises(SourceError, match=r"^`preprocessing.crop.boxes` must be a CSV file [^\n]*\.$"):
        ImageSourceDataset(tmp_path).load().boxes(name)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("b.jpg,1,2,abc,4", "'abc' in place of a number for width"),
        ("b.jpg,1,2,3", "no value in place of a number for height"),
        ("b.jpg,,2,3,4", "'' in place of a number for left"),
        ("b.jpg,1,nan,3,4", "'nan' in place of a number for top"),
        ("b.jpg,1,2,3,1e999", "'1e999' in place of a number for height"),
    ],
)
def test_bad_cell_is_rejected_with_its_line_and_column(tmp_path, line, problem):
    # A quoted line break: the line of the file counts, not the row.
    assert f"line 4 has {problem}" in refused(tmp_path, OURS, '"a\nx.jpg",1,2,3,4', line)


@pytest.mark.parametrize(
    ("line", "problem"),
    [("1,2,3,4", "no path"), ("1,2,3,4,", "no path"), ("1,2,3,4,a,b.jpg", "more cells than columns")],
)
def test_line_without_a_path_or_with_too_many_cells_is_rejected(tmp_path, line, problem):
    assert f"line 3 has {problem}" in refused(tmp_path, "left,top,width,height,path", "1,2,3,4,a.jpg", line)


def test_path_with_a_comma_may_be_quoted(tmp_path):
    assert read(tmp_path, OURS, '"a, b.jpg",1,2,3,4').find(("a, b.jpg",)) == {"a, b.jpg": (1, 2, 4, 6)}


def test_file_in_another_encoding_is_rejected_with_the_line(tmp_path):
    assert "line 3 is not UTF-8" in refused(tmp_path, OURS, "a.jpg,1,2,3,4", "é.jpg,1,2,3,4", encoding="latin-1")


def test_empty_box_at_the_corner_is_a_box(tmp_path):
    assert read(tmp_path, OURS, "a.jpg,0,0,0,0").find(("a.jpg",)) == {"a.jpg": (0, 0, 0, 0)}


def test_boxes_have_the_hash_of_their_file(tmp_path):
    boxes = read(tmp_path, OURS, "a.jpg,0,0,1,1")
    assert boxes.sha256 == hashlib.sha256(f"{OURS}\na.jpg,0,0,1,1\n".encode()).hexdigest()


def test_missing_file_is_rejected(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, problem in (("boxes.csv", "No such file or directory"), ("folder", "Is a directory")):
        with pytest.raises(SourceError, match=rf"^`preprocessing.crop.boxes` must be .*{name}: {problem}\)[^\n]*$"):
            ImageSourceDataset(tmp_path).load().boxes(name)


@pytest.mark.parametrize(
    ("columns", "missing"),
    [("path,left,top,width", "height"), ("path;left;top;width;height", "path, left, top, width, height"), ("", "path")],
)
def test_missing_column_is_rejected(tmp_path, columns, missing):
    assert f"it has no column {missing}" in refused(tmp_path, columns, "a.jpg,1,2,3,4")


@pytest.mark.parametrize(
    "row", ["1,2,x,4", "1,2,,4", "1,2,3", "", "nan,2,3,4", "1,inf,3,4", "1,2,-1e999,4", '1,2,"3\n4",5', "1,2,3\0,4"]
)
def test_invalid_numbers_are_rejected(tmp_path, row):
    refused(tmp_path, OURS, "a.jpg,1,2,3,4", f"b.jpg,{row}")


def test_file_that_is_not_utf8_is_rejected(tmp_path):
    refused(tmp_path, OURS, "ä.jpg,1,2,3,4", encoding="latin-1")
