// The only file that knows yaml-cpp.
#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <optional>
#include <sstream>

#include "config/yaml_text.hpp"

namespace windtunnel {
namespace {

// Events of yaml-cpp -> YamlNode. yaml-cpp's own tree keeps duplicate keys and follows aliases.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const YamlSource& source, YamlNode& root) : source_(source), root_(root) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) fail(mark, "a second document; a file holds one");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    add(mark, YamlNode::Kind::Null);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    fail(mark, "aliases (*name) are not supported; write the value again");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    refuse_tag(mark, tag);
    refuse_anchor(mark, anchor);
    YamlNode& node = add(mark, YamlNode::Kind::Scalar);
    node.text = text;
    node.quoted = tag == "!";
    if (!open_.empty() && open_.back()->kind == YamlNode::Kind::Map && is_key(node))
      refuse_duplicate(*open_.back());
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(mark, tag, anchor, YamlNode::Kind::List);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(mark, tag, anchor, YamlNode::Kind::Map);
  }
  void OnMapEnd() override { open_.pop_back(); }

  // After the last event: yaml-cpp also makes keys of nothing before it finds that a bracket is
  // not closed, which is the better message.
  void refuse_bad_key() const {
    if (bad_key_) throw *bad_key_;
  }

 private:
  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& message) const {
    fail_at(source_, mark.line, mark.column, message);
  }
  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor != 0) fail(mark, "anchors (&name) are not supported");
  }
  // "?" is a plain value without a tag, "!" a quoted one.
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (tag.empty() || tag == "?" || tag == "!") return;
    fail(mark, "tags (!name) are not supported");
  }
  bool is_key(const YamlNode& node) const { return &node == &open_.back()->keys.back(); }

  // The new node is the next key, value or item of the innermost open collection.
  YamlNode& add(const YAML::Mark& mark, YamlNode::Kind kind) {
    YamlNode node;
    node.kind = kind;
    node.source = &source_;
    node.line = mark.line;
    node.column = mark.column;
    if (open_.empty()) return root_ = std::move(node);
    YamlNode& parent = *open_.back();
    if (parent.kind == YamlNode::Kind::Map && parent.keys.size() == parent.items.size()) {
      if (kind != YamlNode::Kind::Scalar && !bad_key_)
        bad_key_ = error_at(source_, mark.line, mark.column, "a key must be plain text");
      return parent.keys.emplace_back(std::move(node));
    }
    // The mark of an absent value is wherever the parser stopped looking for it.
    const bool is_absent = kind == YamlNode::Kind::Null && parent.kind == YamlNode::Kind::Map &&
                           node.line != parent.keys.back().line;
    if (is_absent) {
      node.line = parent.keys.back().line;
      node.column = parent.keys.back().column;
    }
    return parent.items.emplace_back(std::move(node));
  }
  // Pointers stay valid: a parent gets no new child before this one is closed.
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            YamlNode::Kind kind) {
    refuse_tag(mark, tag);
    refuse_anchor(mark, anchor);
    if (open_.size() >= kDeepest) fail(mark, fmt::format("more than {} levels", kDeepest));
    open_.push_back(&add(mark, kind));
    known_[open_.size()].clear();
  }
  void refuse_duplicate(const YamlNode& map) {
    const YamlNode& key = map.keys.back();
    const auto [first, is_new] = known_[open_.size()].try_emplace(key.text, key.line);
    if (is_new) return;
    fail_at(source_, key.line, key.column,
            fmt::format("duplicate key '{}', first in line {}", shortened(key.text),
                        first->second + 1));
  }

  const YamlSource& source_;
  YamlNode& root_;
  std::vector<YamlNode*> open_;
  std::map<std::size_t, std::map<std::string, int>> known_;  // depth -> key -> line
  std::optional<ConfigError> bad_key_;
  int documents_ = 0;
};

}  // namespace

YamlNode parsed(const YamlSource& source, std::string_view text) {
  YamlNode root;
  // Without the end marker yaml-cpp accepts a quoted text that is never closed.
  std::istringstream stream(std::string(text) + "\n...\n");
  TreeBuilder builder(source, root);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    builder.refuse_bad_key();
  } catch (const YAML::Exception& exception) {
    const bool open_quote = exception.msg.find("document indicator") != std::string::npos;
    fail_at(source, exception.mark.line, exception.mark.column,
            "not valid YAML: " + (open_quote ? "a quote is not closed" : exception.msg));
  }
  if (root.source == nullptr) root.source = &source;
  return root;
}

}  // namespace windtunnel
