//! Rust's names for the model's. Guarantee: the same name always gives the same name.

/// `KMSKeyArn` → `kms_key_arn`, `MD5OfBody` → `md5_of_body`.
pub(crate) fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (index, &char) in chars.iter().enumerate() {
        if !char.is_ascii_alphanumeric() {
            if !out.is_empty() && !out.ends_with('_') {
                out.push('_');
            }
            continue;
        }
        let previous = index.checked_sub(1).map(|index| chars[index]);
        let next = chars.get(index + 1);
        let starts_word = previous.is_some_and(|previous| {
            previous.is_ascii_lowercase()
                || previous.is_ascii_digit()
                || (previous.is_ascii_uppercase() && next.is_some_and(char::is_ascii_lowercase))
        });
        if char.is_ascii_uppercase() && starts_word && !out.ends_with('_') {
            out.push('_');
        }
        out.push(char.to_ascii_lowercase());
    }
    out
}

/// A field or method: `snake`, escaped when it is a keyword.
pub(crate) fn field(name: &str) -> String {
    let name = snake(name);
    let keyword = matches!(
        name.as_str(),
        "type"
            | "match"
            | "ref"
            | "use"
            | "where"
            | "move"
            | "in"
            | "loop"
            | "enum"
            | "struct"
            | "static"
            | "async"
            | "await"
            | "const"
            | "continue"
            | "break"
            | "dyn"
            | "else"
            | "extern"
            | "false"
            | "fn"
            | "for"
            | "if"
            | "impl"
            | "let"
            | "mod"
            | "mut"
            | "pub"
            | "return"
            | "trait"
            | "true"
            | "unsafe"
            | "while"
            | "as"
            | "gen"
            | "abstract"
            | "final"
            | "override"
            | "priv"
            | "box"
            | "do"
            | "macro"
            | "typeof"
            | "virtual"
            | "yield"
            | "try"
    );
    if keyword { format!("r#{name}") } else { name }
}

/// A type: the name with its first letter in upper case.
pub(crate) fn pascal(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// Names that generated code uses itself.
const RESERVED: [&str; 14] = [
    "Error",
    "Request",
    "Response",
    "Api",
    "Option",
    "Vec",
    "String",
    "Result",
    "Box",
    "Default",
    "Bytes",
    "Timestamp",
    "EventStream",
    "Streaming",
];

/// A structure's or enum's type: its name, with a suffix where generated code uses that name itself.
pub(crate) fn type_name(name: &str) -> String {
    let name = pascal(name);
    if RESERVED.contains(&name.as_str()) { name + "Shape" } else { name }
}

/// A static: `FUNCTION_NAME`.
pub(crate) fn upper(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// A value of an enum: `nodejs4.3-edge` → `Nodejs43Edge`, `LATEST_PUBLISHED` → `LatestPublished`.
pub(crate) fn variant(value: &str) -> String {
    let mut out = String::new();
    for word in value.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let shouted = word.len() > 1 && word.chars().all(|char| char.is_ascii_uppercase() || char.is_ascii_digit());
        let word = if shouted { word.to_ascii_lowercase() } else { word.to_owned() };
        out.push_str(&pascal(&word));
    }
    if out.starts_with(|char: char| char.is_ascii_digit()) { format!("V{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rusts_customs() {
        for (name, expected) in [
            ("FunctionName", "function_name"),
            ("KMSKeyArn", "kms_key_arn"),
            ("MD5OfBody", "md5_of_body"),
            ("S3Bucket", "s3_bucket"),
            ("logGroupName", "log_group_name"),
            ("AWSAccountIds", "aws_account_ids"),
            ("EC2AccessDeniedException", "ec2_access_denied_exception"),
        ] {
            assert_eq!(snake(name), expected);
        }
        for (value, expected) in [
            ("nodejs4.3-edge", "Nodejs43Edge"),
            ("LATEST_PUBLISHED", "LatestPublished"),
            ("RequestResponse", "RequestResponse"),
            ("x86_64", "X8664"),
            ("AWS_IAM", "AwsIam"),
        ] {
            assert_eq!(variant(value), expected);
        }
        assert_eq!(field("Type"), "r#type");
    }
}
