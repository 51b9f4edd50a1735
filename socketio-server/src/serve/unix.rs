//! Unix sockets as files: made with their mode, found stale, removed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use tokio::net::{UnixListener, UnixSocket};

use super::listener::BACKLOG;
use crate::engine::random_id;

/// A socket's file, which is removed when this is dropped, unless another has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode, by which it is known.
    id: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path); // Whoever is faster removes it.
        }
    }
}

/// Listens at `path`. The socket is made under another name and moved there, so that it never stands there with other
/// permissions, and takes the place of a stale one without a gap.
pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    check_free(path)?;
    let unique = random_id();
    let passing = path.with_file_name(format!(".{}", unique.get(..8).unwrap_or(&unique)));
    let socket = UnixSocket::new_stream()?;
    socket.bind(&passing)?;
    let placed = (|| {
        fs::set_permissions(&passing, fs::Permissions::from_mode(mode))?;
        let file = SocketFile { path: path.to_owned(), id: id(&passing)? };
        let listener = socket.listen(BACKLOG)?;
        fs::rename(&passing, path)?;
        Ok((listener, file))
    })();
    if placed.is_err() {
        let _ = fs::remove_file(&passing); // The first error is the one to tell.
    }
    placed
}

/// Whether nobody listens at `path`.
fn check_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))
        }
        // Not with std's stream, which would wait for room in a queue that is full.
        Ok(_) => match UnixSocket::new_stream()?.connect(path).now_or_never() {
            // The process that listened there has ended.
            Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // It goes through, its queue is full, or we may not connect: somebody listens.
            _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there")),
        },
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
