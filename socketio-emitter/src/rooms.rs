//! Rooms as one names them: one, or a list.

/// One room or several: a name, or an array, slice or `Vec` of names.
///
/// ```
/// let emitter = socketio_emitter::Emitter::lazy("redis://localhost")?;
/// let to_one = emitter.to("red").plan_emit("start", ())?.expect("a room is named");
/// assert_eq!(to_one.channel, "socket.io#/#red#");
/// assert!(emitter.to(["red", "blue"]).plan_emit("start", ())?.is_some());
/// assert!(emitter.to(Vec::<String>::new()).plan_emit("start", ())?.is_none(), "nobody");
/// # Ok::<_, socketio_emitter::EmitError>(())
/// ```
pub trait IntoRooms {
    /// The names.
    fn into_rooms(self) -> Vec<String>;
}

impl IntoRooms for &str {
    fn into_rooms(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl IntoRooms for String {
    fn into_rooms(self) -> Vec<String> {
        vec![self]
    }
}

impl IntoRooms for &String {
    fn into_rooms(self) -> Vec<String> {
        vec![self.clone()]
    }
}

impl<T: AsRef<str>> IntoRooms for &[T] {
    fn into_rooms(self) -> Vec<String> {
        self.iter().map(|room| room.as_ref().to_owned()).collect()
    }
}

impl<T: AsRef<str>> IntoRooms for Vec<T> {
    fn into_rooms(self) -> Vec<String> {
        self.as_slice().into_rooms()
    }
}

impl<T: AsRef<str>> IntoRooms for &Vec<T> {
    fn into_rooms(self) -> Vec<String> {
        self.as_slice().into_rooms()
    }
}

impl<T: AsRef<str>, const N: usize> IntoRooms for [T; N] {
    fn into_rooms(self) -> Vec<String> {
        self.as_slice().into_rooms()
    }
}

impl<T: AsRef<str>, const N: usize> IntoRooms for &[T; N] {
    fn into_rooms(self) -> Vec<String> {
        self.as_slice().into_rooms()
    }
}
