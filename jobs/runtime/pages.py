"""HTML pages from Jinja templates."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def page_template(package: str, name: str) -> Template:
    """Load a template that lies beside a package's modules. It escapes values; an undefined variable is an error."""
    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
