//! Arrays from their text form: `{1,NULL,"a b"}`, `[0:1]={7,8}`, `{{1,2},{3,4}}`.

use model::array::{Array, DIMENSIONS_MAX, Dimension, ELEMENTS_MAX};
use model::error::{SqlError, SqlState};
use model::text::is_array_space;
use model::value::Value;

/// Reads an array whose elements `element` reads.
pub fn parse_array(
    text: &str,
    element: &mut dyn FnMut(&str) -> Result<Value, SqlError>,
) -> Result<Array, SqlError> {
    let mut reader = Reader { text, rest: text };
    reader.skip_spaces();
    let declared = reader.declared_dimensions()?;
    if !reader.rest.starts_with('{') {
        return Err(reader.malformed(match declared {
            Some(_) => "Array contents must start with \"{\".",
            None => "Array value must start with \"{\" or dimension information.",
        }));
    }
    let mut shape = Shape::default();
    reader.level(0, &mut shape, element)?;
    reader.skip_spaces();
    if !reader.rest.is_empty() {
        return Err(reader.malformed("Junk after closing right brace."));
    }
    let Shape { lengths, elements, .. } = shape;
    if elements.is_empty() {
        return Ok(Array::default());
    }
    let found = lengths.iter().map(|length| Dimension { length: *length, lower: 1 });
    let dimensions = match declared {
        None => found.collect(),
        Some(declared) => {
            if !declared.iter().map(|dimension| dimension.length).eq(lengths.iter().copied()) {
                return Err(
                    reader.malformed("Specified array dimensions do not match array contents.")
                );
            }
            declared
        }
    };
    Array::new(dimensions, elements).ok_or_else(too_large)
}

/// Reads `1 2 3`, the form of `int2vector` and `oidvector`, whose subscripts begin at 0.
pub fn parse_vector(
    text: &str,
    element: &mut dyn FnMut(&str) -> Result<Value, SqlError>,
) -> Result<Array, SqlError> {
    let elements = text.split(is_array_space).filter(|word| !word.is_empty());
    Ok(Array::starting_at(0, elements.map(element).collect::<Result<_, _>>()?))
}

fn too_large() -> SqlError {
    SqlError::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})"),
    )
}

/// What has been read so far.
#[derive(Default)]
struct Shape {
    /// Length of each dimension, as the first list of each depth had it.
    lengths: Vec<u32>,
    /// At which depth elements stand, once one has been met.
    depth: Option<usize>,
    elements: Vec<Value>,
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn malformed(&self, detail: &str) -> SqlError {
        SqlError::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("malformed array literal: \"{}\"", self.text),
        )
        .detail(detail)
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(is_array_space);
    }

    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// `[lower:upper]...=`
    fn declared_dimensions(&mut self) -> Result<Option<Vec<Dimension>>, SqlError> {
        let mut dimensions = Vec::new();
        while self.take('[') {
            if dimensions.len() == DIMENSIONS_MAX {
                return Err(too_many_dimensions());
            }
            let first = self.bound()?;
            let (lower, upper) = if self.take(':') { (first, self.bound()?) } else { (1, first) };
            if !self.take(']') {
                return Err(self.malformed("Missing \"]\" after array dimensions."));
            }
            if upper < lower {
                return Err(SqlError::new(
                    SqlState::ARRAY_SUBSCRIPT_ERROR,
                    "upper bound cannot be less than lower bound",
                ));
            }
            let length = i64::from(upper) - i64::from(lower) + 1;
            let length = u32::try_from(length).map_err(|_too_long| too_large())?;
            dimensions.push(Dimension { length, lower });
            self.skip_spaces();
        }
        if dimensions.is_empty() {
            return Ok(None);
        }
        if !self.take('=') {
            return Err(self.malformed("Missing \"=\" after array dimensions."));
        }
        self.skip_spaces();
        Ok(Some(dimensions))
    }

    fn bound(&mut self) -> Result<i32, SqlError> {
        let digit = |c: char| c.is_ascii_digit() || c == '-' || c == '+';
        let end = self.rest.find(|c| !digit(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        number.parse().map_err(|_not_a_number| {
            self.malformed("\"[\" must introduce explicitly-specified array dimensions.")
        })
    }

    /// One list in braces, and the lists in it. Recursion ends at the sixth level.
    fn level(
        &mut self,
        depth: usize,
        shape: &mut Shape,
        element: &mut dyn FnMut(&str) -> Result<Value, SqlError>,
    ) -> Result<(), SqlError> {
        if depth >= DIMENSIONS_MAX {
            return Err(too_many_dimensions());
        }
        self.take('{');
        let mut length = 0_u32;
        self.skip_spaces();
        if self.take('}') {
            // Only the whole array may be empty.
            return match depth {
                0 => Ok(()),
                _ => Err(self.malformed("Unexpected \"}\" character.")),
            };
        }
        loop {
            self.skip_spaces();
            if self.rest.starts_with('{') {
                if shape.depth.is_some_and(|at| at <= depth) {
                    return Err(self.malformed("Unexpected \"{\" character."));
                }
                self.level(depth + 1, shape, element)?;
            } else {
                if *shape.depth.get_or_insert(depth) != depth {
                    return Err(self.mismatch());
                }
                let value = match self.item()? {
                    Some(text) => element(&text)?,
                    None => Value::Null,
                };
                shape.elements.push(value);
                if shape.elements.len() > ELEMENTS_MAX {
                    return Err(too_large());
                }
            }
            length += 1;
            self.skip_spaces();
            if self.take('}') {
                break;
            }
            if !self.take(',') {
                return Err(self.unexpected());
            }
        }
        self.close(depth, length, shape)
    }

    /// Lists of one depth are of one length.
    fn close(&self, depth: usize, length: u32, shape: &mut Shape) -> Result<(), SqlError> {
        if shape.lengths.len() <= depth {
            shape.lengths.resize(depth + 1, 0);
        }
        match shape.lengths[depth] {
            0 => shape.lengths[depth] = length,
            known if known == length => {}
            _ => return Err(self.mismatch()),
        }
        Ok(())
    }

    fn mismatch(&self) -> SqlError {
        self.malformed("Multidimensional arrays must have sub-arrays with matching dimensions.")
    }

    fn unexpected(&self) -> SqlError {
        match self.rest.chars().next() {
            None => self.malformed("Unexpected end of input."),
            Some('"' | '\\') => self.malformed("Unexpected array element."),
            Some(c) => self.malformed(&format!("Unexpected \"{c}\" character.")),
        }
    }

    /// One element's text; `None` is `NULL`.
    fn item(&mut self) -> Result<Option<String>, SqlError> {
        if self.take('"') {
            return self.quoted().map(Some);
        }
        let mut text = String::new();
        // Up to where the text is kept: spaces behind it that are not escaped go.
        let mut kept = 0;
        let mut escaped = false;
        loop {
            let Some(c) = self.rest.chars().next() else { return Err(self.unexpected()) };
            match c {
                ',' | '}' => break,
                '{' | '"' => return Err(self.unexpected()),
                '\\' => {
                    self.rest = &self.rest[1..];
                    let Some(next) = self.rest.chars().next() else {
                        return Err(self.unexpected());
                    };
                    self.rest = &self.rest[next.len_utf8()..];
                    text.push(next);
                    kept = text.len();
                    escaped = true;
                    continue;
                }
                c => text.push(c),
            }
            self.rest = &self.rest[c.len_utf8()..];
            if !is_array_space(c) {
                kept = text.len();
            }
        }
        text.truncate(kept);
        if text.is_empty() {
            return Err(self.unexpected());
        }
        Ok((escaped || !text.eq_ignore_ascii_case("null")).then_some(text))
    }

    fn quoted(&mut self) -> Result<String, SqlError> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => text.extend(characters.next().map(|(_, c)| c)),
                c => text.push(c),
            }
        }
        self.rest = "";
        Err(self.unexpected())
    }
}

fn too_many_dimensions() -> SqlError {
    SqlError::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("number of array dimensions exceeds the maximum allowed ({DIMENSIONS_MAX})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::text::to_text;
    use model::types::{DataType, ElementType};
    use std::sync::Arc;

    fn read(text: &str) -> Result<Array, SqlError> {
        parse_array(text, &mut |element| Ok(Value::text(element)))
    }

    fn printed(array: Array) -> String {
        let data_type = DataType::Array(ElementType::Text);
        to_text(&Value::Array(Arc::new(array)).as_ref(), data_type).unwrap()
    }

    #[test]
    fn what_is_read_prints_as_postgresql_prints_it() {
        for (text, expected) in [
            ("{}", "{}"),
            (" { 1 , 2 } ", "{1,2}"),
            ("{a,NULL,\"NULL\",\"\"}", "{a,NULL,\"NULL\",\"\"}"),
            (r#"{"a b",a b ,"q\"x",back\\slash}"#, r#"{"a b","a b","q\"x","back\\slash"}"#),
            ("{{1,2},{3,4}}", "{{1,2},{3,4}}"),
            ("[0:1]={7,8}", "[0:1]={7,8}"),
            ("[1:2]={7,8}", "{7,8}"),
            ("[2][1:1]={{7},{8}}", "{{7},{8}}"),
            ("{{{a},{b}},{{c},{d}}}", "{{{a},{b}},{{c},{d}}}"),
        ] {
            assert_eq!(printed(read(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_array_is_refused() {
        for text in [
            "",
            "1",
            "{",
            "{1",
            "{1,}",
            "{,1}",
            "{1}}",
            "{1,{2}}",
            "{{1},2}",
            "{{1,2},{3}}",
            "{{},1}",
            "{\"a\"b}",
            "[1:3]={1,2}",
            "[2:1]={}",
            "[1:2]",
            "{\"a",
            "{{{{{{{1}}}}}}}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
