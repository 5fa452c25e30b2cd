//! The files below one directory, as HTTP resources.
//!
//! Promises: nothing outside the directory is ever served, hidden files stay hidden, nothing but a regular
//! file is read, and a body has the length that its head announces. Preconditions come in the order of RFC
//! 9110 section 13.2.2. Not here: sending (a large file leaves as [`Body::File`], and the reactor does the
//! rest).

use std::io;
use std::path::{Path, PathBuf};

pub use folders::Folders;

use crate::gateway::handler::files::conditional::{Verdict, judge, range_applies};
use crate::gateway::handler::files::etag::ETag;
use crate::gateway::handler::files::range::{Asked, asked};
use crate::gateway::handler::files::root::{Entry, OpenFile, Refusal, Root, sort};
use crate::http::date::HttpDate;
use crate::http::path::encoded;
use crate::http::{Body, Fields, FileRange, Method, MethodSet, Request, Response, Status};

mod conditional;
mod etag;
mod folders;
mod range;
mod root;
#[cfg(test)]
mod tests;

/// Up to here a body is read at once and leaves in one write with its head; a descriptor and `sendfile` calls
/// of its own would cost more than the copy. One such read is also what a reactor may be held up by a cold
/// file.
const READ_WHOLE_BYTES_MAX: u64 = 32 * 1024;
/// What stands for a folder.
const INDEX: &str = "index.html";
/// The one hidden name that is public (RFC 8615).
const WELL_KNOWN: &str = ".well-known";
/// How many seconds a client should wait when descriptors or memory ran out.
const RETRY_SECONDS: &str = "1";

/// Fields of every answer that shows a file. Without `nosniff` a browser may take uploaded text for a page.
const SHOWN: &str = "Accept-Ranges: bytes\r\nX-Content-Type-Options: nosniff\r\n";

/// A directory that is served, by its name: open it is in the [`Folders`] of whoever serves it.
#[derive(Clone, Debug)]
pub struct Files {
    path: PathBuf,
    /// Its place in those.
    number: usize,
}

impl Files {
    /// Serves what is below `root`, once it is seen that it can be. `number`: which of its gateway's
    /// directories it is, from 0 on.
    ///
    /// # Errors
    /// `root` is not a directory, or the kernel has no `openat2` (Linux before 5.6, or a sandbox).
    pub fn new(root: &Path, number: usize) -> io::Result<Files> {
        Root::open(root)?;
        Ok(Files { path: root.to_owned(), number })
    }

    /// The directory, for logs.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The answer, or `None` when nothing of that name is here. `prefix` is cut off the path before it is
    /// looked up. Without `folders` the directory is opened for this request alone.
    #[must_use]
    #[inline(never)]
    pub fn answer(&self, request: &Request<'_>, prefix: &str, folders: Option<&Folders>) -> Option<Response> {
        // An OPTIONS for `*` is about the server, not about a file.
        let name = request.path().strip_prefix(prefix.trim_end_matches('/'))?.strip_prefix('/')?;
        if is_hidden(name) {
            return None;
        }
        let opened;
        let folders = match folders {
            Some(folders) => folders,
            None => {
                opened = Folders::of(std::iter::once(self));
                &opened
            }
        };
        let root = match folders.root(self) {
            Ok(root) => root,
            Err(error) => return sort(error).err().map(refuse),
        };
        let entry = if name.is_empty() || name.ends_with('/') {
            // A file is not its own folder: there is no `file/index.html`, so `file/` leads to nothing.
            match root.find(&format!("{name}{INDEX}")) {
                Ok(Some(Entry::Folder)) => return None,
                found => found,
            }
        } else {
            root.find(name)
        };
        match entry {
            Ok(entry) => Some(answer_with(entry?, request)),
            Err(refusal) => Some(refuse(refusal)),
        }
    }
}

/// Whether a segment begins with a dot, other than the first one of `.well-known/`.
fn is_hidden(name: &str) -> bool {
    name.split('/')
        .enumerate()
        .any(|(at, segment)| segment.starts_with('.') && (at, segment) != (0, WELL_KNOWN))
}

fn answer_with(entry: Entry, request: &Request<'_>) -> Response {
    match (request.method(), entry) {
        (Method::Get | Method::Head, Entry::Folder) => redirect(request),
        (Method::Get | Method::Head, Entry::File(file)) => show(file, request),
        (Method::Options, _) => {
            Response::empty(Status::NO_CONTENT).with("Allow", MethodSet::READ.to_string())
        }
        _ => Response::plain(Status::METHOD_NOT_ALLOWED).with("Allow", MethodSet::READ.to_string()),
    }
}

fn refuse(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Forbidden => Response::plain(Status::FORBIDDEN),
        Refusal::Exhausted => Response::plain(Status::SERVICE_UNAVAILABLE).with("Retry-After", RETRY_SECONDS),
        Refusal::Broken => Response::plain(Status::INTERNAL_SERVER_ERROR),
    }
}

/// Sends the client to the folder's own name, so that relative links on its page lead into it.
fn redirect(request: &Request<'_>) -> Response {
    // Made of the plain path, which begins with exactly one slash: `//host` would lead elsewhere (CWE-601).
    let mut location = encoded(request.path());
    location.push('/');
    let mut location = location.into_bytes();
    if !request.query().is_empty() {
        location.push(b'?');
        location.extend_from_slice(request.query());
    }
    Response::plain(Status::MOVED_PERMANENTLY).with("Location", location)
}

/// Answers GET and HEAD for a regular file.
fn show(file: OpenFile, request: &Request<'_>) -> Response {
    let etag = ETag::of(&file);
    match judge(request, &etag, file.modified_seconds()) {
        Verdict::Failed => return Response::plain(Status::PRECONDITION_FAILED),
        Verdict::NotModified => {
            return Response {
                fields: validators(Fields::default(), &etag, &file),
                ..Response::empty(Status::NOT_MODIFIED)
            };
        }
        Verdict::Proceed => {}
    }
    let part = if range_applies(request, &etag, file.modified_seconds()) {
        asked(request, file.len)
    } else {
        Asked::Whole
    };
    let (status, first, len) = match part {
        Asked::Whole => (Status::OK, 0, file.len),
        Asked::Part { first, len } => (Status::PARTIAL_CONTENT, first, len),
        Asked::Unsatisfiable => {
            return Response::plain(Status::RANGE_NOT_SATISFIABLE)
                .with("Content-Range", format!("bytes */{}", file.len));
        }
    };

    let mut fields = validators(Fields::fixed(SHOWN), &etag, &file);
    push_content_type(&mut fields, request.path());
    if status == Status::PARTIAL_CONTENT {
        fields.push("Content-Range", format!("bytes {first}-{}/{}", first + len - 1, file.len));
    }
    match body(file, first, len, request.method()) {
        Ok(body) => Response { status, fields, body },
        Err(refusal) => refuse(refusal),
    }
}

/// The fields by which a client can ask again (RFC 9110 section 8.8); a 304 must carry the same (15.4.5).
fn validators(fields: Fields, etag: &ETag, file: &OpenFile) -> Fields {
    let fields = fields.with("ETag", etag);
    match file.modified_seconds() {
        Some(seconds) => fields.with("Last-Modified", HttpDate::at(seconds)),
        None => fields,
    }
}

fn push_content_type(fields: &mut Fields, path: &str) {
    let name = if path.ends_with('/') { INDEX } else { path };
    match mime_guess::from_path(name).first_raw() {
        Some(text) if text.starts_with("text/") => {
            fields.push("Content-Type", [text, "; charset=utf-8"].concat());
        }
        Some(other) => fields.push("Content-Type", other),
        None => fields.push("Content-Type", "application/octet-stream"),
    }
}

fn body(file: OpenFile, first: u64, len: u64, method: Method) -> Result<Body, Refusal> {
    if len == 0 {
        return Ok(Body::Empty);
    }
    // HEAD sends nothing; the range only tells how long the body would be.
    if len > READ_WHOLE_BYTES_MAX || method == Method::Head {
        return Ok(Body::File(FileRange { file: file.descriptor, offset: first, len }));
    }
    file.read(first, len as usize).map(Body::Owned)
}
