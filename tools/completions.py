"""Completions of the command line for bash, zsh and fish as text, from the argument parser. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from tools.command_line import Argument, Command, CommandLine, Takes

MADE = "Made by `make docs` from the argument parser; a test compares the two."


def bash(line: CommandLine) -> str:
    """For `/usr/share/bash-completion/completions/d4c-images`, or to be sourced. Needs bash 4, not the package bash-completion."""
    commands = line.commands
    values = {pattern: one for command in commands for pattern, one in _values(command)}
    places = {pattern: one for command in commands for pattern, one in _places(command)}
    return BASH.format(
        made=MADE,
        commands=" ".join(one.name for one in commands),
        options=" ".join(name for one in line.options for name in one.options),
        values=_bash_cases(values),
        places=_bash_cases(places),
        options_of="\n".join(
            f'        {one.name}) words="{" ".join(name for option in one.options for name in option.options)}" ;;'
            for one in commands
        ),
    )


BASH = """# shellcheck shell=bash
# bash completion for d4c-images. {made}

# What stands after an option, or at a place: sets "takes" to <file>, <folder>, <text>, the words to choose from, or nothing.
_d4c_images_value() {{
    case "$1 $2" in
{values}
        *) takes="" ;;
    esac
}}

_d4c_images_place() {{
    case "$1 $2" in
{places}
        *) takes="" ;;
    esac
}}

_d4c_images_options() {{
    case "$1" in
{options_of}
    esac
}}

_d4c_images() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous="" command="" takes="" words="" word place=0
    COMPREPLY=()
    # Readline makes three words of --store=pack.
    [[ $current == "=" ]] && current=
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [[ $word == "=" ]] && continue
        if [[ -z $command ]]; then
            [[ $word == -* ]] || command=$word
        else
            _d4c_images_value "$command" "$previous"
            [[ $word == -* || -n $takes ]] || place=$((place + 1))
        fi
        previous=$word
    done
    if [[ -z $command ]]; then
        words="{commands}"
        [[ $current == -* ]] && words="{options}"
    else
        _d4c_images_value "$command" "$previous"
        [[ $current == -* && $takes != "<"* ]] && takes="" # the value may be left out
        [[ -z $takes && $current != -* ]] && _d4c_images_place "$command" "$place"
        case "$takes" in
            "<file>") compopt -o default; return ;;
            "<folder>") compopt -o dirnames; return ;;
            "<text>") return ;;
            "") _d4c_images_options "$command" ;;
            *) words=$takes ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -F _d4c_images d4c-images
"""


def _values(command: Command) -> Iterator[tuple[str, Argument]]:
    for option in command.options:
        if option.takes is not Takes.NOTHING:
            for name in option.options:
                yield f'"{command.name} {name}"', option


def _places(command: Command) -> Iterator[tuple[str, Argument]]:
    for at, one in enumerate(command.places):
        yield f'"{command.name} "*' if one.is_repeated else f'"{command.name} {at}"', one


def _bash_cases(arguments: dict[str, Argument]) -> str:
    """One line for all that take the same; what fits any place comes last."""
    patterns: dict[str, list[str]] = {}
    for pattern, one in arguments.items():
        takes = " ".join(one.words) if one.takes is Takes.WORD else f"<{one.takes.value}>"
        patterns.setdefault(takes, []).append(pattern)
    in_order = sorted(patterns.items(), key=lambda case: any(pattern.endswith("*") for pattern in case[1]))
    return "\n".join(f'        {"|".join(several)}) takes="{takes}" ;;' for takes, several in in_order)


def zsh(line: CommandLine) -> str:
    """For a folder in `$fpath`, under the name `_d4c-images`."""
    commands = "\n".join(f"        {_zsh_quoted(f'{one.name}:{one.summary}')}" for one in line.commands)
    options = " \\\n".join(f"        {spec}" for one in line.options for spec in _zsh_option(one))
    cases = "".join(
        f"        {one.name})\n            _arguments -S \\\n"
        + " \\\n".join(f"                {spec}" for argument in one.arguments for spec in _zsh_specs(argument))
        + " ;;\n"
        for one in line.commands
    )
    return ZSH.format(made=MADE, commands=commands, options=options, cases=cases)


ZSH = """#compdef d4c-images
# zsh completion for d4c-images. {made}

_d4c_images() {{
    local curcontext=$curcontext state line
    local -a commands
    commands=(
{commands}
    )
    _arguments -C -S \\
{options} \\
        '1:command:->command' \\
        '*::argument:->argument'
    case $state in
        command) _describe command commands ;;
        argument) _d4c_images_arguments ;;
    esac
}}

_d4c_images_arguments() {{
    case $words[1] in
{cases}    esac
}}

_d4c_images "$@"
"""


def _zsh_specs(argument: Argument) -> Iterator[str]:
    if argument.options:
        yield from _zsh_option(argument)
    else:
        yield _zsh_quoted(f"{'*' if argument.is_repeated else ''}:{argument.value.strip('{}').lower()}:{_zsh_action(argument)}")


def _zsh_option(argument: Argument) -> Iterator[str]:
    """Only one of --progress and --no-progress; any number of --host."""
    value = ""
    if argument.takes is not Takes.NOTHING:
        value = f"{'::' if argument.is_optional else ':'}{argument.value.replace(':', chr(92) + ':')}:{_zsh_action(argument)}"
    text = argument.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    before = "*" if argument.is_repeated else f"({' '.join(argument.options)})"
    for name in argument.options:
        yield _zsh_quoted(f"{before}{name}[{text}]{value}")


def _zsh_action(argument: Argument) -> str:
    return {Takes.FILE: "_files", Takes.FOLDER: "_files -/", Takes.WORD: f"({' '.join(argument.words)})"}.get(argument.takes, " ")


def _zsh_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def fish(line: CommandLine) -> str:
    """For a folder in `$fish_complete_path`, under the name `d4c-images.fish`."""
    parts = [FISH.format(made=MADE)]
    parts += [f"complete -c d4c-images -n __d4c_images_no_command {_fish_option(one)}\n" for one in line.options]
    for command in line.commands:
        parts.append(f"\ncomplete -c d4c-images -n __d4c_images_no_command -a {command.name} -d {_fish_quoted(command.summary)}\n")
        for at, argument in enumerate(command.arguments):
            if argument.options:
                condition = f"__d4c_images_runs {command.name}"
                parts.append(f"complete -c d4c-images -n '{condition}' {_fish_option(argument)}\n")
            elif offered := _fish_value(argument).replace("-x ", "-f ").replace("-r ", ""):
                condition = f"__d4c_images_runs {command.name}; and __d4c_images_at {_place_of(command, at)}"
                parts.append(f"complete -c d4c-images -n '{condition}' {offered}\n")
    return "".join(parts)


FISH = """# fish completion for d4c-images. {made}

# The words that are no options: the command, and what stands by its place. The value of an option counts as one, too.
function __d4c_images_words
    set -l words (commandline -opc)
    string match --invert -- '-*' $words[2..-1]
end

function __d4c_images_no_command
    test (count (__d4c_images_words)) -eq 0
end

function __d4c_images_runs
    set -l words (__d4c_images_words)
    test "$words[1]" = "$argv[1]"
end

function __d4c_images_at
    test (count (__d4c_images_words)) -eq (math $argv[1] + 1)
end

complete -c d4c-images -f
"""


def _place_of(command: Command, at: int) -> int:
    return command.places.index(command.arguments[at])


def _fish_option(argument: Argument) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in argument.options)
    return " ".join(filter(None, [names, _fish_value(argument), f"-d {_fish_quoted(argument.help)}"]))


def _fish_value(argument: Argument) -> str:
    """-x: a value and no files, -r: a value, -F: files, too."""
    return {
        Takes.NOTHING: "",
        Takes.FILE: "-r -F",
        Takes.FOLDER: "-x -a '(__fish_complete_directories)'",
        Takes.WORD: f"-x -a '{' '.join(argument.words)}'",
        Takes.TEXT: "-x",
    }[argument.takes]


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
