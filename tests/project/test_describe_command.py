"""`kedro dcgan describe`: layers and costs of the networks of a preset, as a table or JSON."""

import json

import pytest
from projects import copy_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("describe") / "kedro-dcgan")


def test_describe_prints_json(project):
    described = json.loads(project.kedro("dcgan", "describe", "--env=faces64", "--json").stdout)
    assert {name: network["trainable_parameters"] for name, network in described.items()} == {
        "generator": 3_576_704,
        "discriminator": 2_765_568,
    }
    assert described["generator"]["output_shape"] == [3, 64, 64]
    assert described["discriminator"]["output_shape"] == []
    for network in described.values():
        assert sum(layer["parameters"] for layer in network["layers"]) == network["parameters"]
        assert sum(layer["flops"] for layer in network["layers"]) == network["flops"] > 2e8
        assert network["batch_size"] == 128
        assert network["training_bytes"] > 16 * network["trainable_parameters"]


def test_describe_prints_a_table(project):
    lines = project.kedro("dcgan", "describe", "--env=faces64").stdout.splitlines()
    assert lines[0] == "Generator"
    rows = [line.split() for line in lines]
    assert ["1", "ConvTranspose2d", "512x4x4", "819,200"] in rows
    assert ["forward", "per", "image", "0.209", "GFLOP"] in rows
