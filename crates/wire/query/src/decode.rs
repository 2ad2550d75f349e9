//! From a form to a shape. Guarantee: only what the schema names is looked at; absent members stay absent.

use wire_schema::{Kind, Malformed, Member, Place, Schema, Seen, Shape, Step, Survey, fill_text};

use crate::Form;

/// Fills `shape` from `form` and notes in `survey` which required members are missing.
///
/// # Errors
/// When a value does not fit its member.
pub fn decode(form: &Form, shape: &mut dyn Shape, survey: &mut Survey) -> Result<(), Malformed> {
    let mut seen = Seen::default();
    for (index, member) in shape.schema().members().iter().enumerate() {
        let Some(found) = form.get(member.form_name) else { continue };
        let Some(place) = shape.place(index) else { continue };
        seen.insert(index);
        survey.enter(Step::Member(member.name));
        fill(place, member.schema, found, Some(member), survey)?;
        survey.leave();
    }
    survey.absent(shape.schema(), seen);
    Ok(())
}

fn fill(
    place: Place<'_>,
    schema: &'static Schema,
    form: &Form,
    member: Option<&'static Member>,
    survey: &mut Survey,
) -> Result<(), Malformed> {
    match (&schema.kind, place) {
        (Kind::Structure { .. }, Place::Structure(shape)) => decode(form, shape, survey),
        (Kind::List { member: item, name, flattened, .. }, Place::List(list)) => {
            let flattened = *flattened || member.is_some_and(Member::is_flattened);
            let items = if flattened { Some(form) } else { form.get(name).or_else(|| form.get("member")) };
            list.clear();
            for (index, found) in items.map(Form::numbered).unwrap_or_default().into_iter().enumerate() {
                survey.enter(Step::Item(index));
                fill(list.push(), item, found, None, survey)?;
                survey.leave();
            }
            Ok(())
        }
        (Kind::Map { value, key_name, value_name, flattened, .. }, Place::Map(map)) => {
            let flattened = *flattened || member.is_some_and(Member::is_flattened);
            let entries = if flattened { Some(form) } else { form.get("entry") };
            map.clear();
            for found in entries.map(Form::numbered).unwrap_or_default() {
                let key = found.get(key_name).and_then(Form::value);
                let key = key.ok_or_else(|| Malformed(format!("An entry of a map lacks its {key_name}.")))?;
                survey.enter(Step::Key(key.to_owned()));
                let place = map.insert(key.to_owned());
                match found.get(value_name) {
                    Some(found) => fill(place, value, found, None, survey)?,
                    None => survey.null(),
                }
                survey.leave();
            }
            Ok(())
        }
        (_, place) => {
            let text = form.value().ok_or_else(|| Malformed("Unexpected complex element".to_owned()))?;
            fill_text(place, text, member.map_or(schema.timestamp, Member::timestamp_format), survey)
        }
    }
}
