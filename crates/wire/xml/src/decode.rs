//! From a document to a shape. Guarantee: what is filled is what the document says; anything else is an error.

use std::borrow::Cow;

use quick_xml::{
    XmlVersion,
    events::{BytesRef, BytesStart, Event},
    reader::Reader,
};
use wire_schema::{
    Kind, List, Location, Malformed, Map, Member, Place, Schema, Seen, Shape, Step, Survey, TimestampFormat, fill_text,
};

/// How deep a document may be: no shape of AWS's comes near.
const DEPTH_MAX: usize = 64;

/// Fills those members of `shape` that travel in the document, whose outermost element is to have one of these names
/// (any, when there are none). `seen` notes them; the caller, who knows of members that travel elsewhere, reports to `survey`
/// which are missing. Below the top, this is done here.
///
/// # Errors
/// When the document is not XML, has an element that the shape lacks, or a value does not fit.
pub fn decode(
    document: &[u8],
    roots: &[&str],
    shape: &mut dyn Shape,
    seen: &mut Seen,
    survey: &mut Survey,
) -> Result<(), Malformed> {
    let text = std::str::from_utf8(document).map_err(|_| Malformed("The document is not UTF-8.".to_owned()))?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    reader.config_mut().expand_empty_elements = true;
    let mut walk = Walk { reader, depth: 0, survey };
    let Some(start) = walk.outermost()? else {
        return Err(Malformed("The document has no element.".to_owned()));
    };
    let name = start.local_name();
    if let Some(first) = roots.first()
        && !roots.contains(&name.as_ref())
    {
        return Err(Malformed(format!("The document's element is `{}`, not `{first}`.", name.as_ref())));
    }
    walk.structure(&start, shape, seen)?;
    match walk.outermost()? {
        None => Ok(()),
        Some(_) => Err(Malformed("The document has more than one element.".to_owned())),
    }
}

struct Walk<'t, 's> {
    reader: Reader<&'t [u8]>,
    depth: usize,
    survey: &'s mut Survey,
}

/// What stands next inside an element.
enum Inside<'t> {
    Element(BytesStart<'t>),
    End,
}

impl<'t> Walk<'t, '_> {
    fn event(&mut self) -> Result<Event<'t>, Malformed> {
        match self.reader.read_event() {
            Ok(Event::DocType(_)) => Err(Malformed("A document type is not allowed.".to_owned())),
            Ok(event) => Ok(event),
            Err(error) => Err(Malformed(format!("The document is not XML: {error}"))),
        }
    }

    /// The next element outside of all others; none at the document's end.
    fn outermost(&mut self) -> Result<Option<BytesStart<'t>>, Malformed> {
        loop {
            match self.event()? {
                Event::Start(start) => return Ok(Some(start)),
                Event::Eof => return Ok(None),
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if is_blank(&text.xml10_content()) => {}
                _ => return Err(Malformed("There is text outside of the document's element.".to_owned())),
            }
        }
    }

    /// The next element of a structure, list or map: text between elements is none of it.
    fn inside(&mut self) -> Result<Inside<'t>, Malformed> {
        loop {
            match self.event()? {
                Event::Start(start) => return Ok(Inside::Element(start)),
                Event::End(_) => return Ok(Inside::End),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Text(text) if is_blank(&text.xml10_content()) => {}
                Event::Eof => return Err(Malformed("The document ends too early.".to_owned())),
                _ => return Err(Malformed("There is text where elements belong.".to_owned())),
            }
        }
    }

    /// The text of a scalar's element, whose start has been read.
    fn scalar(&mut self) -> Result<Cow<'t, str>, Malformed> {
        let mut whole = Cow::Borrowed("");
        loop {
            let piece = match self.event()? {
                Event::End(_) => return Ok(whole),
                Event::Text(text) => text.xml10_content(),
                Event::CData(text) => text.xml10_content(),
                Event::GeneralRef(reference) => Cow::Owned(resolve(&reference)?.to_string()),
                Event::Comment(_) | Event::PI(_) => continue,
                Event::Eof => return Err(Malformed("The document ends too early.".to_owned())),
                _ => return Err(Malformed("There is an element where text belongs.".to_owned())),
            };
            if whole.is_empty() {
                whole = piece;
            } else {
                whole.to_mut().push_str(&piece);
            }
        }
    }

    /// The members of a structure, whose start has been read.
    fn structure(&mut self, start: &BytesStart<'t>, shape: &mut dyn Shape, seen: &mut Seen) -> Result<(), Malformed> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Malformed(format!("The document is more than {DEPTH_MAX} elements deep.")));
        }
        self.attributes(start, shape, seen)?;
        let members = shape.schema().members();
        while let Inside::Element(child) = self.inside()? {
            let name = child.local_name();
            let found = members.iter().position(|member| {
                member.wire_name == name.as_ref() && member.location == Location::Body && !member.xml_attribute
            });
            let Some((index, member)) = found.and_then(|index| Some((index, members.get(index)?))) else {
                return Err(Malformed(format!("`{}` has no element `{}`.", shape.schema().name, name.as_ref())));
            };
            let again = seen.contains(index);
            if again && !member.is_flattened() {
                return Err(Malformed(format!("The element `{}` occurs twice.", member.wire_name)));
            }
            seen.insert(index);
            let Some(place) = shape.place(index) else { continue };
            self.survey.enter(Step::Member(member.name));
            self.member(&child, member, place, again)?;
            self.survey.leave();
        }
        self.depth -= 1;
        Ok(())
    }

    fn attributes(&mut self, start: &BytesStart<'t>, shape: &mut dyn Shape, seen: &mut Seen) -> Result<(), Malformed> {
        let members = shape.schema().members();
        for (index, member) in members.iter().enumerate().filter(|(_, member)| member.xml_attribute) {
            // `xsi:type`: whichever prefix the client chose.
            let wanted = member.wire_name.split_once(':').map_or(member.wire_name, |(_, local)| local);
            for attribute in start.attributes() {
                let attribute = attribute.map_err(|error| Malformed(format!("The document is not XML: {error}")))?;
                if attribute.key.local_name().as_ref() != wanted {
                    continue;
                }
                let value = attribute
                    .normalized_value(XmlVersion::Implicit1_0)
                    .map_err(|error| Malformed(format!("The document is not XML: {error}")))?;
                if let Some(place) = shape.place(index) {
                    self.survey.enter(Step::Member(member.name));
                    fill_text(place, &value, None, self.survey)?;
                    self.survey.leave();
                    seen.insert(index);
                }
            }
        }
        Ok(())
    }

    /// A member's element. Of a flattened list or map it is one item; `again` says that it is not the first.
    fn member(
        &mut self,
        start: &BytesStart<'t>,
        member: &'static Member,
        place: Place<'_>,
        again: bool,
    ) -> Result<(), Malformed> {
        match (&member.schema.kind, place) {
            (Kind::List { member: item, .. }, Place::List(list)) if member.is_flattened() => {
                if !again {
                    list.clear();
                }
                self.item(start, item, list)
            }
            (Kind::Map { value, key_name, value_name, .. }, Place::Map(map)) if member.is_flattened() => {
                if !again {
                    map.clear();
                }
                self.entry(value, (key_name, value_name), map)
            }
            (_, place) => self.value(start, member.schema, place, member.timestamp_format()),
        }
    }

    fn value(
        &mut self,
        start: &BytesStart<'t>,
        schema: &'static Schema,
        place: Place<'_>,
        format: Option<TimestampFormat>,
    ) -> Result<(), Malformed> {
        match (&schema.kind, place) {
            (Kind::Structure { .. }, Place::Structure(shape)) => {
                let mut seen = Seen::default();
                self.structure(start, shape, &mut seen)?;
                self.survey.absent(shape.schema(), seen);
                Ok(())
            }
            (Kind::List { member, name, .. }, Place::List(list)) => {
                list.clear();
                while let Inside::Element(child) = self.inside()? {
                    expect(&child, name)?;
                    self.item(&child, member, list)?;
                }
                Ok(())
            }
            (Kind::Map { value, key_name, value_name, .. }, Place::Map(map)) => {
                map.clear();
                while let Inside::Element(child) = self.inside()? {
                    expect(&child, "entry")?;
                    self.entry(value, (key_name, value_name), map)?;
                }
                Ok(())
            }
            (_, place) => {
                let text = self.scalar()?;
                // Around numbers, instants and the like, white space means nothing; in texts it does.
                let text = if matches!(schema.kind, Kind::String) { &*text } else { text.trim() };
                fill_text(place, text, format, self.survey)
            }
        }
    }

    fn item(&mut self, start: &BytesStart<'t>, schema: &'static Schema, list: &mut dyn List) -> Result<(), Malformed> {
        self.survey.enter(Step::Item(list.len()));
        let place = list.push();
        self.value(start, schema, place, schema.timestamp)?;
        self.survey.leave();
        Ok(())
    }

    /// An entry, whose start has been read: its key, then its value.
    fn entry(
        &mut self,
        schema: &'static Schema,
        (key_name, value_name): (&str, &str),
        map: &mut dyn Map,
    ) -> Result<(), Malformed> {
        let lacks = |name: &str| Malformed(format!("An entry of a map lacks its {name}."));
        let Inside::Element(start) = self.inside()? else { return Err(lacks(key_name)) };
        expect(&start, key_name)?;
        let key = self.scalar()?.into_owned();
        let Inside::Element(start) = self.inside()? else { return Err(lacks(value_name)) };
        expect(&start, value_name)?;
        self.survey.enter(Step::Key(key.clone()));
        self.value(&start, schema, map.insert(key), schema.timestamp)?;
        self.survey.leave();
        match self.inside()? {
            Inside::End => Ok(()),
            Inside::Element(other) => Err(Malformed(format!("An entry has no `{}`.", other.local_name().as_ref()))),
        }
    }
}

fn expect(start: &BytesStart<'_>, name: &str) -> Result<(), Malformed> {
    let found = start.local_name();
    if found.as_ref() == name {
        return Ok(());
    }
    Err(Malformed(format!("There is a `{}` where `{name}` belongs.", found.as_ref())))
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// What a reference stands for: the five entities of XML, and characters by their number.
fn resolve(reference: &BytesRef<'_>) -> Result<char, Malformed> {
    let unknown = || Malformed(format!("The reference `&{};` is not known.", reference.xml10_content()));
    match &*reference.xml10_content() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => reference.resolve_char_ref().ok().flatten().ok_or_else(unknown),
    }
}

#[cfg(test)]
mod tests;
