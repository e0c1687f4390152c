"""Reads and makes protocol buffers whose .proto files no required package contains."""

from typing import Any

# name of a message → name of a field → its number and type: "string", "bytes", the name
# of a message in the table, or, after a dot, the full name of one in another file. In
# front, as in .proto files, "repeated" may stand.
Messages = dict[str, dict[str, tuple[int, str]]]


def message_class(
    name: str, package: str, messages: Messages, *dependencies: str
) -> Any:
    """Returns the class of a message.

    Args:
        name: Name of the message in ``messages``.
        package: Package of the messages; each table needs another.
        messages: The messages; fields that they omit are kept, but not accessible.
        dependencies: Names of the .proto files of other messages that they contain.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto",
        package=package,
        syntax="proto3",
        dependency=dependencies,
    )
    for message, fields in messages.items():
        described = file.message_type.add(name=message)
        for field, (number, words) in fields.items():
            added = described.field.add(name=field, number=number)
            repeated, kind = "repeated" in words, words.split()[-1]
            added.label = added.LABEL_REPEATED if repeated else added.LABEL_OPTIONAL
            if kind in ("string", "bytes"):
                added.type = getattr(added, f"TYPE_{kind.upper()}")
            else:
                full = kind if kind.startswith(".") else f".{package}.{kind}"
                added.type, added.type_name = added.TYPE_MESSAGE, full
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())  # once more changes nothing
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{package}.{name}")
    )
