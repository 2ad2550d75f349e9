//! What a folder says about the function in it: its `pileus.toml` and, where that is silent, its files.
//!
//! Guarantee: the result is complete or an error names what is missing; an unknown key of `pileus.toml` is an error.

use std::{collections::BTreeMap, fs, path::Path};

use regex::Regex;
use serde::Deserialize;

use super::resources::{TableSpec, TriggerSpec};
use crate::failure::{Failure, Outcome, io};

/// The file that describes a function.
pub(crate) const DESCRIPTION: &str = "pileus.toml";

/// `pileus.toml`. Every key is optional.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Description {
    /// The function's name; else the folder's.
    name: Option<String>,
    /// `python3.11`, `nodejs20.x`, `provided.al2023`, …; else the newest that the server's host has.
    runtime: Option<String>,
    /// `file.function`; else found in the folder.
    handler: Option<String>,
    /// MiB; else AWS's 128.
    memory: Option<u32>,
    /// Seconds; else AWS's 3.
    timeout: Option<u32>,
    /// What the function is for.
    description: Option<String>,
    /// ARN of the role it runs as.
    role: Option<String>,
    /// Whether anybody may call it by a URL.
    url: Option<bool>,
    /// Environment variables.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Tables that it needs.
    #[serde(default)]
    table: Vec<TableSpec>,
    /// What starts it.
    #[serde(default)]
    trigger: Vec<TriggerSpec>,
}

/// The languages whose projects are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
    /// A ready `bootstrap` in the folder.
    Native,
    /// A Cargo project whose binary becomes the `bootstrap`.
    Rust,
}

/// A function as its folder describes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Project {
    pub(crate) name: String,
    pub(crate) language: Language,
    /// Absent: the server's host decides among what it has.
    pub(crate) runtime: Option<String>,
    pub(crate) handler: String,
    pub(crate) memory: Option<u32>,
    pub(crate) timeout: Option<u32>,
    pub(crate) description: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) url: bool,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) tables: Vec<TableSpec>,
    pub(crate) triggers: Vec<TriggerSpec>,
}

/// Files that are looked for, in this order, and the language each one means.
const ENTRY_FILES: [(&str, Language); 15] = [
    ("bootstrap", Language::Native),
    ("Cargo.toml", Language::Rust),
    ("app.py", Language::Python),
    ("lambda_function.py", Language::Python),
    ("handler.py", Language::Python),
    ("main.py", Language::Python),
    ("index.mjs", Language::Node),
    ("index.js", Language::Node),
    ("index.cjs", Language::Node),
    ("app.mjs", Language::Node),
    ("app.js", Language::Node),
    ("handler.mjs", Language::Node),
    ("handler.js", Language::Node),
    ("main.mjs", Language::Node),
    ("main.js", Language::Node),
];

impl Project {
    /// Reads the folder. `name` wins over the folder's own word.
    pub(crate) fn read(folder: &Path, name: Option<&str>) -> Outcome<Self> {
        let shown = folder.display();
        let folder = fs::canonicalize(folder).map_err(io(format!("cannot open the folder {shown}")))?;
        if !folder.is_dir() {
            return Err(
                Failure::new(format!("{shown} is not a folder")).remedy("name the folder that holds the handler")
            );
        }
        let description = read_description(&folder)?;
        let language = language(&folder, description.runtime.as_deref(), description.handler.as_deref())?;
        let handler = match description.handler {
            Some(handler) => handler,
            None => handler(&folder, language)?,
        };
        let own_name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name
            .map(str::to_owned)
            .or(description.name)
            .or(own_name)
            .ok_or_else(|| Failure::new("the folder has no name").remedy("give the function one with --name"))?;
        Ok(Self {
            name,
            language,
            runtime: description.runtime,
            handler,
            memory: description.memory,
            timeout: description.timeout,
            description: description.description,
            role: description.role,
            url: description.url.unwrap_or(false),
            environment: description.environment,
            tables: description.table,
            triggers: description.trigger,
        })
    }
}

fn read_description(folder: &Path) -> Outcome<Description> {
    let path = folder.join(DESCRIPTION);
    match fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            Failure::new(format!("{} cannot be read", path.display())).because(&error).remedy(
                "its keys are name, runtime, handler, memory, timeout, description, role, url, [environment], [[table]] and \
                 [[trigger]]",
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Description::default()),
        Err(error) => Err(io(format!("cannot read {}", path.display()))(error)),
    }
}

/// The language: of the runtime if one is named, else of the handler's file, else of the first known file.
fn language(folder: &Path, runtime: Option<&str>, handler: Option<&str>) -> Outcome<Language> {
    if let Some(runtime) = runtime {
        return match runtime {
            _ if runtime.starts_with("python") => Ok(Language::Python),
            _ if runtime.starts_with("nodejs") => Ok(Language::Node),
            _ if folder.join("bootstrap").is_file() => Ok(Language::Native),
            _ if folder.join("Cargo.toml").is_file() => Ok(Language::Rust),
            _ => Err(Failure::new(format!("the runtime {runtime} needs a `bootstrap` or a Cargo.toml in the folder"))),
        };
    }
    let stem = handler.and_then(|handler| handler.rsplit_once('.')).map(|(stem, _)| stem);
    let of_handler = stem.and_then(|stem| {
        [("py", Language::Python), ("mjs", Language::Node), ("js", Language::Node), ("cjs", Language::Node)]
            .into_iter()
            .find(|(extension, _)| folder.join(format!("{stem}.{extension}")).is_file())
    });
    let of_files = || ENTRY_FILES.into_iter().find(|(file, _)| folder.join(file).is_file());
    of_handler.or_else(of_files).map(|(_, language)| language).ok_or_else(|| {
        let known = ENTRY_FILES.map(|(file, _)| file).join(", ");
        Failure::new(format!("{} holds no handler file", folder.display()))
            .remedy(format!("add one of {known}, or name the handler in {DESCRIPTION}"))
    })
}

/// `file.function` of the first known file of the language.
fn handler(folder: &Path, language: Language) -> Outcome<String> {
    if matches!(language, Language::Native | Language::Rust) {
        return Ok("bootstrap".to_owned());
    }
    let file = ENTRY_FILES
        .into_iter()
        .find(|(file, of)| *of == language && folder.join(file).is_file())
        .map(|(file, _)| file)
        .ok_or_else(|| {
            Failure::new("the folder's handler file is not one of the usual names")
                .remedy(format!("say handler = \"file.function\" in {DESCRIPTION}"))
        })?;
    let text = fs::read_to_string(folder.join(file)).map_err(io(format!("cannot read {file}")))?;
    let pattern = match language {
        Language::Python => r"(?m)^(?:async\s+)?(?:def\s+)?(lambda_handler|handler|main)\s*[(=:]",
        _ => r"(?m)\b(?:exports\.|export\s+(?:(?:async\s+)?function\s*|const\s+|let\s+))(lambdaHandler|handler|main)\b",
    };
    let function = Regex::new(pattern)
        .map_err(|error| Failure::new("the pattern for handlers is wrong").because(&error))?
        .captures(&text)
        .map_or_else(|| "handler".to_owned(), |found| found[1].to_owned());
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    Ok(format!("{stem}.{function}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn handlers_are_found_in_files() {
        type Files<'a> = &'a [(&'a str, &'a str)];
        let rows: [(Files<'_>, Language, &str); 8] = [
            (&[("app.py", "def handler(e, c):\n    pass\n")], Language::Python, "app.handler"),
            (
                &[("lambda_function.py", "def lambda_handler(e, c): pass")],
                Language::Python,
                "lambda_function.lambda_handler",
            ),
            (&[("main.py", "x = 1\nhandler = make()\n")], Language::Python, "main.handler"),
            (&[("index.mjs", "export const handler = async () => 1")], Language::Node, "index.handler"),
            (&[("index.js", "exports.main = () => 1")], Language::Node, "index.main"),
            (&[("app.js", "module.exports = { handler }")], Language::Node, "app.handler"),
            (&[("bootstrap", "#!/bin/sh")], Language::Native, "bootstrap"),
            (&[("Cargo.toml", "[package]")], Language::Rust, "bootstrap"),
        ];
        for (files, language, handler) in rows {
            let folder = folder(files);
            let project = Project::read(folder.path(), Some("f")).unwrap();
            assert_eq!((project.language, project.handler.as_str()), (language, handler), "{files:?}");
            assert_eq!(project.runtime, None);
        }
    }

    #[test]
    fn the_description_wins() {
        let folder = folder(&[
            ("app.py", "def handler(e, c): pass"),
            (
                DESCRIPTION,
                "name = 'n'\nruntime = 'python3.11'\nhandler = 'app.other'\nmemory = 256\ntimeout = 9\nurl = true\n\
                 [environment]\nA = 'b'\n",
            ),
        ]);
        let project = Project::read(folder.path(), None).unwrap();
        assert_eq!(
            (project.name.as_str(), project.runtime.as_deref(), project.handler.as_str()),
            ("n", Some("python3.11"), "app.other")
        );
        assert_eq!((project.memory, project.timeout, project.url), (Some(256), Some(9), true));
        assert_eq!(project.environment.get("A").map(String::as_str), Some("b"));
        assert_eq!(Project::read(folder.path(), Some("flag")).unwrap().name, "flag");
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let folder = folder(&[("app.py", ""), (DESCRIPTION, "memroy = 1")]);
        let failure = Project::read(folder.path(), None).unwrap_err().render();
        assert!(failure.contains("memroy"), "{failure}");
    }

    #[test]
    fn a_folder_without_a_handler_is_refused() {
        let failure = Project::read(folder(&[("notes.txt", "")]).path(), None).unwrap_err().render();
        assert!(failure.contains("no handler file") && failure.contains("lambda_function.py"), "{failure}");
    }

    #[test]
    fn a_file_is_not_a_folder() {
        let folder = folder(&[("app.py", "")]);
        assert!(Project::read(&folder.path().join("app.py"), None).is_err());
        assert!(Project::read(&folder.path().join("absent"), None).is_err());
    }
}
