"""The files of a dbt project, as far as lineage needs them: models rendered to SQL, and the columns of each by what they are computed from."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import yaml

REF, SOURCE = re.compile(r"ref\('(\w+)'\)"), re.compile(r"source\('(\w+)', *'(\w+)'\)")
# any partition does: lineage is the same for all
PARTITION = "2000-01"
QUOTE = '"'


class UnreadableModel(ValueError):
    """A model's SQL could not be rendered or read; the message names the model and the cause."""


@dataclass
class Model:
    sql: str
    described: dict[str, Any]
    upstream: list[str] = field(default_factory=list)
    reads_itself: bool = False


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings: dict[str, Any] = yaml.safe_load((root / "dbt_project.yml").read_text())
        files = [*sorted((root / "models").rglob("*.yml")), *sorted((root / "seeds").glob("*.yml"))]
        self.properties: list[dict[str, Any]] = [yaml.safe_load(path.read_text()) or {} for path in files]
        self.paths = {path.stem: path for path in sorted((root / "models").rglob("*.sql"))}
        self.sources = [(source, table) for found in self.properties for source in found.get("sources", []) for table in source["tables"]]
        self.exposures = [each for found in self.properties for each in found.get("exposures", [])]
        own = {each["name"]: each for found in self.properties for each in found.get("seeds", [])}
        self.seeds: dict[str, dict[str, Any]] = {path.stem: own.get(path.stem, {}) for path in sorted((root / "seeds").glob("*.csv"))}
        self._own = {each["name"]: each for found in self.properties for each in found.get("models", [])}
        name_of = self.settings["name"]
        folders, seeds = self.settings["models"][name_of], self.settings["seeds"][name_of]
        schemas = {name: folders[path.relative_to(root / "models").parts[0]]["+schema"] for name, path in self.paths.items()}
        schemas |= dict.fromkeys(self.seeds, seeds["+schema"])
        # what stands beside the description goes before what the folder says
        own_schemas = {name: described.get("config", {}).get("schema") for name, described in (self._own | self.seeds).items()}
        self.names = {name: f"{own_schemas.get(name) or schema}.{name}" for name, schema in schemas.items()}
        self._relations = {(source["name"], table["name"]): f"{source.get('schema', source['name'])}.{table['name']}" for source, table in self.sources}

    def header(self, seed: str) -> list[str]:
        return (self.root / "seeds" / f"{seed}.csv").read_text().splitlines()[0].split(",")

    def relation(self, node: str) -> str:
        """schema.table of what an exposure names, like ref('features') or source('ops', 'published')."""
        if found := SOURCE.fullmatch(node):
            return self._relations[found[1], found[2]]
        if found := REF.fullmatch(node):
            return self.names[found[1]]
        raise UnreadableModel(f"an exposure depends on {node!r}, which is neither ref('…') nor source('…', '…')")

    @cached_property
    def models(self) -> dict[str, Model]:
        return {name: self._render(name, self._own.get(name, {})) for name in self.paths}

    def _render(self, name: str, properties: dict[str, Any]) -> Model:
        macros = "".join(path.read_text() for path in sorted((self.root / "macros").glob("*.sql")))
        variables = {"partition": PARTITION, **{key: value for key, value in self.settings.get("vars", {}).items() if value}}
        model = Model("", properties)
        # what it renders is this repository's own SQL, and goes to a parser only
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
        # in the default dialect, which is PostgreSQL's
        environment.globals |= {"adapter": {"dispatch": lambda macro: getattr(environment.from_string(macros).module, f"default__{macro}")}}

        def take(relation: str) -> str:
            if relation not in model.upstream:
                model.upstream.append(relation)
            return relation

        def rendered(incremental: bool) -> str:
            return environment.from_string(macros + self.paths[name].read_text()).render(
                ref=lambda other: take(self.names[other]),
                source=lambda source, table: take(self._relations[source, table]),
                var=variables.__getitem__,
                is_incremental=lambda: incremental,
                config=lambda **_: "",
                this=self.names[name],
            )

        try:
            model.reads_itself = self.names[name] in rendered(True)
            model.sql = rendered(False)
        except Exception as error:
            raise UnreadableModel(f"{self.paths[name]}: {type(error).__name__}: {error}") from error
        return model

    def origins(self, relation: str, known: dict[str, list[str]]) -> dict[str, list[str]]:
        """{column: the columns, as schema.table.column, that it is computed from, one step back}, given the columns of what it is made of."""
        import sqlglot
        from sqlglot import exp
        from sqlglot.errors import SqlglotError
        from sqlglot.lineage import lineage

        schema: dict[str, Any] = {}
        for each, columns in known.items():
            where, _, table = each.partition(".")
            schema.setdefault(where, {})[table] = dict.fromkeys(columns, "text")
        model = self.models[relation.partition(".")[2]]
        try:
            tree = sqlglot.parse_one(model.sql, dialect="postgres")
            for lateral in list(tree.find_all(exp.Lateral)):
                # what it is chosen by is no value of it; without that it is a subquery like any other
                inner = lateral.this.copy()
                inner.this.set("where", None)
                lateral.replace(exp.Subquery(this=inner.this, alias=lateral.args["alias"]))
            found = lineage(None, tree, schema, dialect="postgres", validate_qualify_columns=False)
        except SqlglotError as error:
            raise UnreadableModel(f"{relation}: {error}") from error
        return {name: sorted({_column(node) for node in top.walk() if isinstance(node.source, exp.Table)}) for name, top in found.items()}


def _column(leaf: Any) -> str:
    return f"{leaf.source.db}.{leaf.source.name}.{leaf.name.rpartition('.')[2].strip(QUOTE)}"
