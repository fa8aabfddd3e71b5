"""Kedro's loader of the files in `conf/`, with one line for each fault."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from kedro.config import OmegaConfigLoader
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kedro_dcgan.config import Chosen, dotted_values
from kedro_dcgan.config.yaml_files import check_interpolations, check_yaml
from kedro_dcgan.errors import ParameterError


class OneLineConfigLoader(OmegaConfigLoader):
    """Loads the files as Kedro does, and raises a `ParameterError` for the first fault in them.

    `conf_source` is a folder or an archive. The folder of the default preset, `local`, need not exist.
    """

    def __init__(self, conf_source: str | Path, env: str | None = None, **options: Any) -> None:
        super().__init__(conf_source, env, **options)
        if env and not self._fs.isdir(Path(self._get_conf_env_path(env)).as_posix()):
            folders = self._fs.ls(Path(self._get_conf_env_path("")).as_posix(), detail=True)
            presets = sorted(Path(entry["name"]).name for entry in folders if entry["type"] == "directory")
            raise ParameterError(
                f"`--env` must be a folder of {self.conf_source} (got {env}). "
                f"Presets: {', '.join(preset for preset in presets if preset != self.default_run_env)}."
            )

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Return the merged files of a kind: parameters, catalog, tracking or credentials.

        If `training.budget` is set, the parameters of `training` in `--params` are added to those that it keeps.
        """
        try:
            loaded: dict[str, Any] = super().__getitem__(key)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            remedy = "Write the value itself"
            if "oc.env" in reason:
                remedy = "Kedro reads environment variables only in credentials*.yml; write the value itself"
            name = f"{key}: {error.full_key}" if error.full_key else key
            raise ParameterError(f"`{name}` must be resolvable ({reason}). {remedy} in conf/*/{key}*.yml.") from error
        except (yaml.YAMLError, RecursionError) as error:
            raise ParameterError(f"`conf/*/{key}*.yml` must be loadable ({type(error).__name__}: {error}).") from error
        except ValueError as error:
            # For example, a top-level key in two files of the same folder.
            raise ParameterError(f"`conf/*/{key}*.yml` must be consistent ({error}).") from error
        training = loaded.get("training") if key == "parameters" else None
        if isinstance(training, dict) and training.get("budget") and isinstance(training.get("budget_keeps"), list):
            training["budget_keeps"] = sorted({*training["budget_keeps"], *self._given()})
        return loaded

    def _given(self) -> set[str]:
        # The parameters in `--params` that a budget would choose.
        training = self.runtime_params.get("training")
        given = dotted_values(training) if isinstance(training, dict) else {}
        if "epochs" in given:
            raise ParameterError(
                f"`training.epochs` must not be given with `training.budget`, which sets the length (got "
                f"{given['epochs']}). Leave one of them out."
            )
        return given.keys() & set(get_args(Chosen))

    def _read_dir_configs(
        self, conf_path: str, patterns: Iterable[str], key: str, processed_files: set[Path], *options: bool
    ) -> dict[Path, DictConfig]:
        if (
            not self.env
            and conf_path == self._get_conf_env_path(self.default_run_env)
            and not self._fs.isdir(conf_path)
        ):
            return {}
        for pattern in patterns:
            for file in self._fs.glob((Path(conf_path) / pattern).as_posix()):
                if self._is_valid_config_path(Path(file)):
                    check_yaml(self._fs.cat_file(file), file)
        configs: dict[Path, DictConfig] = super()._read_dir_configs(conf_path, patterns, key, processed_files, *options)
        return configs

    def _merge_and_resolve(self, key: str, config_per_file: Mapping[Path, DictConfig]) -> dict[str, Any]:
        # No key is in two files of a folder: Kedro has checked it.
        raw = [OmegaConf.to_container(config) for config in config_per_file.values()]
        check_interpolations(
            {str(name): value for group in raw if isinstance(group, dict) for name, value in group.items()}
        )
        resolved: dict[str, Any] = super()._merge_and_resolve(key, config_per_file)
        return resolved
