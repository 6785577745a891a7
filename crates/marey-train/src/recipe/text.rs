//! A recipe's text: changes from the command line, and errors that name the nearest valid key.

/// Sets one `section.key=value` in a table; a value that is no TOML is taken as a string.
pub(super) fn apply_override(table: &mut toml::Table, change: &str) -> Result<(), String> {
    let (path, value) = change.split_once('=').ok_or_else(|| {
        format!("--set {change}: expected `section.key=value`, for example `train.epochs=5`")
    })?;
    let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let last = keys.pop().unwrap_or_default();
    let mut table = table;
    for key in keys {
        table = table
            .entry(key)
            .or_insert_with(|| toml::Table::new().into())
            .as_table_mut()
            .ok_or_else(|| format!("--set {change}: `{key}` is a value, not a section"))?;
    }
    table.insert(last.to_owned(), value);
    Ok(())
}

/// The message of a TOML error, with the nearest valid key where an unknown one was found.
pub(super) fn with_nearest_key(error: &toml::de::Error) -> String {
    let text = error.to_string().trim_end().to_owned();
    let message = error.message();
    let Some(rest) = message
        .strip_prefix("unknown field `")
        .or_else(|| message.strip_prefix("unknown variant `"))
    else {
        return text;
    };
    let mut quoted = rest.split('`').step_by(2);
    let Some(wrong) = quoted.next() else {
        return text;
    };
    let known: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
    let nearest = known.iter().max_by(|a, b| {
        let likeness = |key: &str| strsim::jaro_winkler(key, wrong);
        likeness(a).total_cmp(&likeness(b))
    });
    match nearest {
        Some(nearest) => format!("{text}\ndid you mean `{nearest}`?"),
        None => text,
    }
}
