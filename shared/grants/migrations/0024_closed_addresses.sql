-- The notifier notes when it tried a closed address.
GRANT UPDATE ON notifier.sending_hold TO headrace_notifier;
